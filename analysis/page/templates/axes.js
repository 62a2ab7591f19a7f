// A plot's axes: where a value goes, and what is written beside it.
const axes = (() => {
  function written(value, unit) {
    if (unit === "B") {
      const at = [["GB", 1e9], ["MB", 1e6], ["kB", 1e3]].find(([, size]) => Math.abs(value) >= size);
      return at ? `${Number((value / at[1]).toPrecision(3))} ${at[0]}` : `${value} B`;
    }
    const size = Math.abs(value);
    if (value !== 0 && (size < 1e-3 || size >= 1e5)) return value.toExponential().replace("+", "");
    return String(Number(value.toPrecision(4)));
  }
  function logTicks(low, high, most) {
    const found = [];
    for (const mantissas of [[1], [1, 3], [1, 2, 5], [1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9]]) {
      found.length = 0;
      for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power += 1) {
        for (const mantissa of mantissas) {
          const tick = Number((mantissa * 10 ** power).toPrecision(3));
          if (tick >= low && tick <= high) found.push(tick);
        }
      }
      if (found.length >= 3) break;
    }
    const every = Math.ceil(found.length / Math.max(2, most));
    return found.filter((_, index) => index % every === 0);
  }
  function ticksOf(low, high, most, whole) {
    const rough = Math.max(whole ? 1 : 0, (high - low) / Math.max(1, most));
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = power * [1, 2, 5, 10].find((size) => size * power >= rough);
    const found = [];
    for (let tick = Math.ceil(low / step); tick * step <= high + step * 1e-9; tick += 1) {
      found.push(Number((tick * step).toPrecision(10)));
    }
    return found;
  }
  // A value's place along an axis, 0 to 1, and what to write beside it.
  function scale(axis, values, most) {
    if (axis.levels) {
      const count = axis.levels.length;
      const every = Math.ceil(count / Math.max(1, most));
      return {
        at: (value) => (value + 0.5) / count,
        ticks: axis.levels.map((text, value) => ({ value, text }))
          .filter(({ value }) => value % every === 0),
      };
    }
    const known = values.filter((value) => value !== null && (!axis.log || value > 0));
    let [low, high] = axis.span || [Math.min(...known), Math.max(...known)];
    if (axis.zero) low = Math.min(0, low);
    const change = axis.log ? Math.log10 : (value) => value;
    if (!(change(high) > change(low))) [low, high] = axis.log ? [low / 2, high * 2] : [low - 1, high + 1];
    let [from, to] = [change(low), change(high)];
    const margin = axis.span ? 0 : 0.04 * (to - from);
    from -= axis.zero && low === 0 ? 0 : margin;
    to += margin;
    const ticks = axis.log ? logTicks(10 ** from, 10 ** to, most) : ticksOf(from, to, most, axis.whole);
    const place = (value) => (change(value) - from) / (to - from);
    return {
      at: axis.reverse ? (value) => 1 - place(value) : place,
      ticks: ticks.map((value) => ({ value, text: written(value, axis.unit) })),
    };
  }
  const ends = (mark, way) => {
    if (mark.low && way === "y") return [...mark.low, ...mark.high];
    const error = mark[`e${way}`];
    return error ? mark[way].flatMap((v, i) => [v - error[i], v + error[i]]) : mark[way];
  };
  return { scale, ends };
})();
