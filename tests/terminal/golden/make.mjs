// Makes the golden screens with xterm.js, the reference: for each input of cases.json the screen at 22 places.
//   npm install --prefix DIR @xterm/headless@6.0.0 @xterm/addon-unicode11@0.9.0
//   node make.mjs DIR
import fs from 'node:fs';
import path from 'node:path';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

const here = path.dirname(fileURLToPath(import.meta.url));
const load = createRequire(path.resolve(process.argv[2], 'package.json'));
const { Terminal } = load('@xterm/headless');
const { Unicode11Addon } = load('@xterm/addon-unicode11');
const PLACES = 22;

const colour = (rgb, indexed, value) =>
  rgb ? [(value >> 16) & 255, (value >> 8) & 255, value & 255] : indexed ? value : null;

function attributes(cell) {
  const flags = [cell.isBold(), cell.isDim(), cell.isItalic(), cell.isUnderline(), false, cell.isBlink(),
    cell.isInverse(), cell.isInvisible(), cell.isStrikethrough(), cell.isOverline()];
  return flags.reduce((sum, on, bit) => sum + (on ? 1 << bit : 0), 0);
}

// A row as runs [text, fg, bg, attributes]; the second half of a wide character is an empty text and joins its run.
function row(line, cols) {
  const runs = [];
  for (let x = 0; x < cols; x++) {
    const cell = line.getCell(x);
    const text = cell.getWidth() === 0 ? '' : cell.getChars() || ' ';
    const style = [colour(cell.isFgRGB(), cell.isFgPalette(), cell.getFgColor()),
      colour(cell.isBgRGB(), cell.isBgPalette(), cell.getBgColor()), attributes(cell)];
    const last = runs[runs.length - 1];
    if (last && JSON.stringify(last.slice(1)) === JSON.stringify(style)) last[0] += text;
    else runs.push([text, ...style]);
  }
  const last = runs[runs.length - 1];
  if (last[1] === null && last[2] === null && last[3] === 0) {
    last[0] = last[0].trimEnd();
    if (!last[0]) runs.pop();
  }
  return runs;
}

for (const [name, [cols, rows]] of Object.entries(JSON.parse(fs.readFileSync(path.join(here, 'cases.json'))))) {
  const data = fs.readFileSync(path.join(here, `${name}.bin`));
  const term = new Terminal({ cols, rows, scrollback: 1000, allowProposedApi: true });
  term.loadAddon(new Unicode11Addon());
  term.unicode.activeVersion = '11';
  const screens = [];
  for (let place = 0, from = 0; place < PLACES; place++) {
    const to = Math.floor((data.length * (place + 1)) / PLACES);
    await new Promise((done) => term.write(data.subarray(from, to), done));
    from = to;
    const buffer = term.buffer.active;
    const lines = [];
    for (let y = 0; y < rows; y++) lines.push(row(buffer.getLine(buffer.baseY + y), cols));
    screens.push({ at: to, cursor: [buffer.cursorX, buffer.cursorY], alt: buffer.type === 'alternate', lines });
  }
  const past = [];
  for (let y = 0; y < term.buffer.normal.baseY; y++) past.push(term.buffer.normal.getLine(y).translateToString(true));
  fs.writeFileSync(path.join(here, `${name}.json`), JSON.stringify({ cols, rows, screens, past }) + '\n');
}
