// The worker of the playground: answers the messages of `messages.js`.

import { messageHandler } from "./messages.js";

/** Resolves after the messages that wait: a message to itself comes after them, and sooner than a timer. */
function afterWaitingMessages() {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(null);
  });
}

const handleMessage = messageHandler((message, transferred = []) => {
  globalThis.postMessage(message, transferred);
}, afterWaitingMessages);

globalThis.onmessage = ({ data }) => handleMessage(data);
