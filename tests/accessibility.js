// What is wrong on the page as it stands: nameless controls, pictures without alt, text with too little contrast.
([least, leastLarge]) => {
  const wrong = [];
  const shown = (element) => element.checkVisibility({ visibilityProperty: true, opacityProperty: true });
  const what = (element) => `${element.tagName.toLowerCase()}#${element.id} "${element.textContent.trim().slice(0, 30)}"`;

  for (const element of document.querySelectorAll("button, input, a, canvas[role=img], video")) {
    if (!shown(element) || element.closest("[aria-hidden=true]") || element.tagName === "VIDEO") continue;
    const named = element.getAttribute("aria-label") || element.textContent.trim() || element.labels?.length;
    if (!named) wrong.push(`no name: ${what(element)}`);
  }
  for (const image of document.images) {
    if (!image.hasAttribute("alt")) wrong.push(`no alt: ${image.src}`);
  }
  const ids = [...document.querySelectorAll("[id]")].map(({ id }) => id);
  if (new Set(ids).size !== ids.length) wrong.push("an id is used twice");
  if (!document.documentElement.lang || !document.title) wrong.push("no language or title");
  if ([...document.querySelectorAll("h1")].filter(shown).length !== 1) wrong.push("not one h1");

  // Colours through a canvas, which knows every notation.
  const pen = Object.assign(document.createElement("canvas"), { width: 1, height: 1 }).getContext("2d", {
    willReadFrequently: true,
  });
  const rgba = (colour) => {
    pen.clearRect(0, 0, 1, 1);
    pen.fillStyle = colour;
    pen.fillRect(0, 0, 1, 1);
    return [...pen.getImageData(0, 0, 1, 1).data];
  };
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const ground = (element) => {
    for (let here = element; here; here = here.parentElement) {
      const colour = rgba(getComputedStyle(here).backgroundColor);
      if (colour[3] > 190) return colour;
    }
    return [255, 255, 255, 255];
  };
  const words = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (words.nextNode()) {
    const element = words.currentNode.parentElement;
    if (!words.currentNode.textContent.trim() || !shown(element) || element.closest(".unseen, .skip, .veil, .looking")) continue;
    const style = getComputedStyle(element);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
    const [one, other] = [light(rgba(style.color)), light(ground(element))];
    const contrast = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    if (contrast < (large ? leastLarge : least)) wrong.push(`contrast ${contrast.toFixed(2)}: ${what(element)}`);
  }
  return wrong;
};
