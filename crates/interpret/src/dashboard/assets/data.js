'use strict';
// Where the data comes from: scripts beside the page, each of which calls `untangle.load` with what it holds.
(function () {
  const KEPT = 48; // files of features that are kept in memory
  const loaded = { run: new Map(), index: new Map(), features: new Map() };
  const waiting = new Map();

  untangle.load = function (kind, shard, value) {
    loaded[kind].set(shard, value);
  };

  function file(kind, shard) {
    const digits = kind === 'index' ? 4 : 5;
    return `data/${kind}-${String(shard).padStart(digits, '0')}.js`;
  }

  // What a file holds, loaded when it is not here yet.
  function shard(kind, number) {
    const here = loaded[kind].get(number);
    if (here !== undefined) return Promise.resolve(here);
    const name = file(kind, number);
    if (waiting.has(name)) return waiting.get(name);
    const promise = new Promise((resolve, reject) => {
      const script = document.createElement('script');
      script.src = name;
      script.onload = () => {
        script.remove();
        waiting.delete(name);
        const value = loaded[kind].get(number);
        if (value === undefined) reject(new Error(`${name} holds something else; make the dashboard again`));
        else resolve(value);
      };
      script.onerror = () => {
        script.remove();
        waiting.delete(name);
        reject(new Error(`${name} is not there; keep the folder together, or make the dashboard again`));
      };
      document.head.append(script);
    });
    waiting.set(name, promise);
    return promise;
  }

  untangle.data = {
    run: () => loaded.run.get(0),
    index: (number) => shard('index', number),
    // A feature, and the texts of its tokens.
    async feature(id) {
      const size = loaded.run.get(0).feature_shard;
      const found = await shard('features', Math.floor(id / size));
      for (const old of loaded.features.keys()) {
        if (loaded.features.size <= KEPT) break;
        if (old !== Math.floor(id / size)) loaded.features.delete(old);
      }
      return { feature: found.features[id % size], tokens: found.tokens };
    },
  };
})();
