// Loaded with the page: settings live in its address, the names of its pictures in the session of its tab.
window.t2i = (() => {
  const facts = __FACTS__;
  const KEY = "t2i-pictures";

  function valid(name, text) {
    if (facts.flags.includes(name)) return text === "true" ? true : text === "false" ? false : undefined;
    if (name in facts.choices) return facts.choices[name].includes(text) ? text : undefined;
    if (!(name in facts.limits)) return text.slice(0, facts.longest);
    const [low, high, grain] = facts.limits[name];
    const value = text.trim() === "" ? NaN : Number(text);
    return value >= low && value <= high && (!grain || value % grain === 0) ? value : undefined;
  }

  return {
    // The settings of the address; what it does not say, or says wrongly, stays as it is on the page: its default, or
    // what somebody typed before everything was loaded.
    read(values) {
      const asked = new URLSearchParams(window.location.search);
      return facts.names.map((name, i) => {
        const value = asked.has(name) ? valid(name, asked.get(name)) : undefined;
        return value === undefined ? values[i] : value;
      });
    },
    // Only what differs from its default; what is no setting of ours stays.
    write(values) {
      const asked = new URLSearchParams(window.location.search);
      facts.names.forEach((name, i) => {
        const value = values[i];
        if (value === null || value === undefined || value === facts.defaults[i]) asked.delete(name);
        else asked.set(name, value);
      });
      const query = asked.toString();
      window.history.replaceState(null, "", window.location.pathname + (query ? "?" + query : "") + window.location.hash);
    },
    suiting: (name) => facts.suits[name],
    keep() {
      const images = [...document.querySelectorAll("#shelf .past summary img")];
      const names = images.map((image) => image.getAttribute("src").split("/").pop());
      try { sessionStorage.setItem(KEY, JSON.stringify(names.slice(0, facts.history))); } catch { /* a full or closed store */ }
    },
    kept() {
      try { return JSON.parse(sessionStorage.getItem(KEY)) || []; } catch { return []; }
    },
  };
})();
