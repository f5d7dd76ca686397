// Amounts as strings of coins ("12.50") and BigInt base units. No floating point anywhere.

/** "12.5" of an asset with so many decimals, as base units; null if it is no amount of that asset. */
export function parseAmount(text, decimals) {
  const match = /^(\d+)(?:\.(\d*))?$/.exec(text);
  if (match === null || (match[2] ?? '').length > decimals) return null;
  return BigInt(match[1] + (match[2] ?? '').padEnd(decimals, '0'));
}

/** Base units for people: "1,234.50". At least two digits after the point where the asset has them, else none that is
 *  needless. */
export function formatUnits(units, decimals) {
  const isNegative = units < 0n;
  const digits = String(isNegative ? -units : units).padStart(decimals + 1, '0');
  const whole = digits.slice(0, digits.length - decimals).replace(/\B(?=(\d{3})+$)/g, ',');
  const fraction = digits.slice(digits.length - decimals).replace(/0+$/, '').padEnd(Math.min(2, decimals), '0');
  return (isNegative ? '-' : '') + whole + (fraction === '' ? '' : '.' + fraction);
}

const DIGITS_MAX = 12; // before the point

/** What a typed or pasted text can be made into: digits, one point, no more decimals than the asset has. */
export function cleanAmount(text, decimals) {
  const [whole, ...rest] = text.replace(/[,，。．]/g, '.').replace(/[^\d.]/g, '').split('.');
  const digits = whole.replace(/^0+(?=\d)/, '').slice(0, DIGITS_MAX);
  if (rest.length === 0 || decimals === 0) return digits;
  return (digits === '' ? '0' : digits) + '.' + rest.join('').slice(0, decimals);
}

/** The amount after one more key of the pad: '0'…'9', '.', or 'erase'. */
export function pressKey(text, key, decimals) {
  if (key === 'erase') return text.slice(0, -1);
  if (key === '.' && text.includes('.')) return text;
  return cleanAmount(text + key, decimals);
}
