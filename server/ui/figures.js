// Arithmetic on what FORMATS.md describes, and numbers as words. Pure: no page, no clock.

// Growth of a total per second between two samples of /v1/stats; null where there is none to tell.
export function rate(from, to, total) {
  if (!from || !to || to.now_ms <= from.now_ms) return null;
  const a = total(from), b = total(to);
  if (a == null || b == null || b < a) return null;
  return (b - a) * 1000 / (to.now_ms - from.now_ms);
}

export function growth(from, to, total) {
  const a = from && total(from), b = to && total(to);
  return a == null || b == null || b < a ? null : b - a;
}

// part / (part + rest); null of nothing.
export function share(part, rest) {
  return part == null || rest == null || part + rest === 0 ? null : part / (part + rest);
}

// What a histogram saw between two samples.
export function histogramBetween(from, to) {
  if (!to) return null;
  if (!from || from.count > to.count) return to;
  return {
    bounds_s: to.bounds_s,
    counts: to.counts.map((n, i) => n - from.counts[i]),
    count: to.count - from.count,
  };
}

// As Prometheus' histogram_quantile: linear within the bucket, the highest bound above it.
export function percentile(histogram, q) {
  if (!histogram || !histogram.count) return null;
  const bounds = histogram.bounds_s;
  let rank = q * histogram.count;
  for (let i = 0; i < bounds.length; i++) {
    const n = histogram.counts[i];
    if (n && rank <= n) {
      const low = i ? bounds[i - 1] : 0;
      return low + (bounds[i] - low) * rank / n;
    }
    rank -= n;
  }
  return bounds[bounds.length - 1];
}

// Uses a second that keep an expert at this heat (expert_map.h: 6.3 log2(1 + h), h about 1.55 f).
export function usesPerSecond(heat) {
  return (2 ** (heat / 6.3) - 1) / 1.55;
}

// The hottest that a cell of `heat` can be after `ms` in which nothing was routed to it.
export function cooled(heat, ms) {
  const h = (2 ** ((heat + 1) / 6.3) - 1) * 2 ** (-ms / 1073.74);
  return Math.floor(6.3 * Math.log2(1 + h));
}

// ---- as words ----

const NONE = '–';

export function number(n, digits = 3) {
  if (n == null || !isFinite(n)) return NONE;
  if (n === 0) return '0';
  const size = Math.abs(n);
  if (size >= 1e6) return scaled(n, [[1e12, 'T'], [1e9, 'G'], [1e6, 'M']], digits);
  const wanted = Math.max(0, digits - 1 - Math.floor(Math.log10(size)));
  const places = Number.isInteger(n) ? 0 : Math.min(wanted, 3);
  return n.toLocaleString('en', {minimumFractionDigits: places, maximumFractionDigits: places});
}

function scaled(n, units, digits) {
  const [unit, name] = units.find(u => Math.abs(n) >= u[0]) || units[units.length - 1];
  const value = n / unit;
  const places = Math.max(0, digits - 1 - Math.floor(Math.log10(Math.abs(value) || 1)));
  return value.toFixed(Math.min(places, 2)) + ' ' + name;
}

export function count(n) {
  return n == null ? NONE : Math.round(n).toLocaleString('en');
}

export function bytes(n) {
  if (n == null) return NONE;
  if (Math.abs(n) < 1000) return Math.round(n) + ' B';
  return scaled(n, [[1e12, 'TB'], [1e9, 'GB'], [1e6, 'MB'], [1e3, 'kB']], 3);
}

export function bytesPerSecond(n) {
  return n == null ? NONE : bytes(n) + '/s';
}

export function percent(x, places = 1) {
  return x == null || !isFinite(x) ? NONE : (x * 100).toFixed(places) + ' %';
}

export function duration(s) {
  if (s == null || !isFinite(s)) return NONE;
  if (s === 0) return '0 ms';
  if (s < 0.001) return (s * 1e6).toFixed(0) + ' µs';
  if (s < 1) return (s * 1e3).toFixed(s < 0.0995 ? 1 : 0) + ' ms';
  if (s < 120) return s.toFixed(s < 9.95 ? 2 : 1) + ' s';
  if (s < 7200) return Math.round(s / 60) + ' min';
  if (s < 172800) return (s / 3600).toFixed(1) + ' h';
  return Math.round(s / 86400) + ' days';
}
