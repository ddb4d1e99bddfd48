(function (tools) {
  "use strict";
  const { imul } = tools;
  let seed = 0x2545F491;
  return function random() { // mulberry32
    seed = (seed + 0x6D2B79F5) | 0;
    let mixed = imul(seed ^ (seed >>> 15), 1 | seed);
    mixed = (mixed + imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
})
