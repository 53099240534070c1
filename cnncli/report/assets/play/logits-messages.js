// Texts of the answer, in two languages.

export const LOGITS_MESSAGES = {
  en: {
    answer: "{name}, {share}",
    tie: "no answer: not all logits are finite",
    truth: "true class: {name}",
    right: "correct",
    wrong: "wrong",
    class: "class",
    logit: "logit",
    softmax: "softmax",
    all: "all {count} classes",
    announced: "{run} answers {name}, {share}",
    table: "logits and softmax",
  },
  zh: {
    answer: "{name}，{share}",
    tie: "没有输出：并非所有 logits 都是有限数",
    truth: "真实类别：{name}",
    right: "正确",
    wrong: "错误",
    class: "类别",
    logit: "logit",
    softmax: "softmax",
    all: "全部 {count} 个类别",
    announced: "{run} 的输出是 {name}，{share}",
    table: "logits 和 softmax",
  },
};
