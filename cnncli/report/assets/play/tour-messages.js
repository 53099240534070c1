// The tour of the page, in two languages. Names in braces are filled in for the network at hand.

export const TOUR_MESSAGES = {
  en: {
    intro: "{count} steps from the pixels to the answer, made for this network.",
    introOwn: "{title}: {count} steps.",
    start: "Start the tour",
    back: "Back",
    next: "Next",
    leave: "End the tour",
    place: "Step {number} of {count}",
    step: "Step {number}",
    imageTitle: "An image is numbers",
    image:
      "The network gets {height} x {width} numbers from 0 (black) to 255, in {channels}. It divides them by 255, " +
      "subtracts a mean and divides by a standard deviation. Draw something: every layer follows.",
    oneChannel: "one channel",
    severalChannels: "{count} channels",
    slideTitle: "A kernel slides over the image",
    slide:
      "{layer} has kernels of {kernel}. At each position, the numbers under the kernel are multiplied by the numbers of " +
      "the kernel, one by one, and the products are added up. The kernel is not flipped, so this is a cross-correlation. " +
      "A convolution flips it; for learned kernels that makes no difference, and the layer is called a convolution.",
    mapsTitle: "One feature map for each kernel",
    maps:
      "{layer} has {count} kernels, and so {count} feature maps: each kernel slides over the same input and finds its own " +
      "pattern. Where a map is strong, the pattern is there. Compare the maps, then draw something else.",
    sumsTitle: "Several input channels are added up",
    sums:
      "A kernel of {layer} has {depth} slices of {kernel}, one for each channel that it reads. Each slice slides over its " +
      "channel, and the {depth} sums are added up to one number. So {layer} turns {depth} maps into {count}: the number " +
      "of kernels, not of input channels.",
    sumsOne:
      "A kernel of {layer} is 1x1 with {depth} slices: it mixes the {depth} channels at one position, like a fully " +
      "connected layer that is applied at every pixel. So {layer} turns {depth} maps into {count}.",
    poolTitle: "A pool summarizes each channel",
    poolMax:
      "{layer} keeps the largest number of each window and forgets where in the window it was. It works on each channel " +
      "separately: {count} maps go in, and {count} smaller ones come out. It has no weights.",
    poolMean:
      "{layer} keeps the mean of each window. It works on each channel separately: {count} maps go in, and {count} " +
      "smaller ones come out. It has no weights.",
    fieldTitle: "The receptive field grows",
    field:
      "This unit of {layer} depends on {rows} x {columns} pixels of the image, although no kernel before it is larger than " +
      "{kernel}: each layer reads units that have read several units before. Point at units of other layers and watch " +
      "the border in the input.",
    logitsTitle: "Logits become shares",
    logits:
      "{layer} gives one number for each of the {classes} classes: the logits. The softmax turns them into shares between 0 " +
      "and 1 that add up to 1. Only differences between logits count: add the same number to all, and the shares stay.",
    beganTitle: "When did it begin to know?",
    began:
      "The weights of several steps of the training are in this page. Move the slider: the same image, seen by the network " +
      "as it was then. Step 0 is the untrained network.",
    mistakeTitle: "What it gets wrong",
    mistake:
      "This is the most confident mistake among the test images: the network says {predicted}, its label is {label}. " +
      "A large share is no proof. Which pixels mislead it?",
    whatIfTitle: "Change the network",
    whatIf: "Switch a filter of {layer} off and see what becomes of the answer. What does the network need it for?",
    buttons: "Steps of the tour",
  },
  zh: {
    intro: "从像素到输出共 {count} 步，按本网络编写。",
    introOwn: "{title}：共 {count} 步。",
    start: "开始导览",
    back: "上一步",
    next: "下一步",
    leave: "结束导览",
    place: "第 {number} 步，共 {count} 步",
    step: "第 {number} 步",
    imageTitle: "图像就是数字",
    image:
      "网络得到 {height} x {width} 个从 0（黑）到 255 的数，共{channels}。先除以 255，再减去均值，除以标准差。画一个图形，每一层都会随之变化。",
    oneChannel: "一个通道",
    severalChannels: " {count} 个通道",
    slideTitle: "卷积核在图像上滑动",
    slide:
      "{layer} 的卷积核大小为 {kernel}。在每个位置上，卷积核覆盖的数与卷积核的数逐个相乘，再把乘积相加。卷积核没有翻转，所以这是互相关运算；" +
      "严格的卷积要翻转卷积核。卷积核是学出来的，翻转与否没有差别，习惯上仍称为卷积层。",
    mapsTitle: "一个卷积核产生一个特征图",
    maps: "{layer} 有 {count} 个卷积核，因此有 {count} 个特征图：每个卷积核在同一输入上滑动，寻找自己的模式。特征图中数值大的地方就有这种模式。比较这些特征图，再画一个别的图形。",
    sumsTitle: "多个输入通道相加",
    sums: "{layer} 的一个卷积核有 {depth} 个 {kernel} 的切片，每个输入通道一个。每个切片在自己的通道上滑动，{depth} 个结果相加成一个数。因此 {layer} 把 {depth} 个特征图变成 {count} 个：等于卷积核的个数，而不是输入通道数。",
    sumsOne:
      "{layer} 的卷积核是 1x1，有 {depth} 个切片：它把同一位置的 {depth} 个通道混合起来，相当于在每个像素上应用一个全连接层。因此 {layer} 把 {depth} 个特征图变成 {count} 个。",
    poolTitle: "汇聚层概括每个通道",
    poolMax:
      "{layer} 保留每个窗口中最大的数，不再记得它在窗口中的位置。每个通道单独处理：输入 {count} 个特征图，输出 {count} 个更小的特征图。它没有权重。",
    poolMean:
      "{layer} 保留每个窗口的平均值。每个通道单独处理：输入 {count} 个特征图，输出 {count} 个更小的特征图。它没有权重。",
    fieldTitle: "感受野逐层变大",
    field:
      "{layer} 的这个单元取决于图像中 {rows} x {columns} 个像素，尽管它之前没有大于 {kernel} 的卷积核：每一层读取的单元本身又读取了前一层的若干单元。指向其他层的单元，观察输入图像上的边框。",
    logitsTitle: "logits 变为概率",
    logits:
      "{layer} 为 {classes} 个类别各给出一个数，即 logits。softmax 把它们变成 0 到 1 之间、总和为 1 的数。只有 logits 之差起作用：全部加上同一个数，结果不变。",
    beganTitle: "它从何时开始认识？",
    began: "本页面保存了训练中若干步的权重。移动滑块，看同一图像在当时的网络中是什么结果。第 0 步是未经训练的网络。",
    mistakeTitle: "它错在哪里",
    mistake:
      "这是测试图像中最有把握的错误：网络认为是 {predicted}，标签是 {label}。概率大并不等于正确。是哪些像素误导了它？",
    whatIfTitle: "改变网络",
    whatIf: "关闭 {layer} 的一个卷积核，看输出如何变化。网络为什么需要它？",
    buttons: "导览步骤",
  },
};
