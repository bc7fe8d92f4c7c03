
// A picture to begin from, and the mask that is painted over it. The page may draw its parts late: they are looked up by name.
(() => {
  const MOST = 1024, BRUSH = 0.05;
  const at = (id) => document.getElementById(id);
  let name = "", picture = null, mask = null, painted = false, sent = "", last = null;

  function say(text, wrong) {
    at("begin-note").textContent = text;
    at("begin-note").classList.toggle("wrong", Boolean(wrong));
  }

  // The server's name of a picture; its sentence where it takes none.
  async function send(blob) {
    const answer = await fetch("/v1/pictures", { method: "POST", body: blob, headers: { "content-type": blob.type || "image/*" } });
    const told = await answer.json();
    if (!answer.ok) throw new Error(told.error);
    return told.name;
  }

  function paint() {
    const canvas = at("begin-canvas"), context = canvas.getContext("2d");
    context.drawImage(picture, 0, 0, canvas.width, canvas.height);
    context.globalAlpha = 0.55;
    context.drawImage(mask, 0, 0);
    context.globalAlpha = 1;
  }

  function clear() {
    mask.getContext("2d").clearRect(0, 0, mask.width, mask.height);
    painted = false;
    sent = "";
    paint();
  }

  async function show(source, taken) {
    const image = new Image();
    image.src = source;
    try { await image.decode(); } catch { throw new Error("This browser cannot show the picture; the server has it."); }
    const share = Math.min(1, MOST / Math.max(image.naturalWidth, image.naturalHeight));
    const canvas = at("begin-canvas");
    mask = document.createElement("canvas");
    canvas.width = mask.width = Math.max(1, Math.round(image.naturalWidth * share));
    canvas.height = mask.height = Math.max(1, Math.round(image.naturalHeight * share));
    picture = image;
    name = taken;
    at("begin-board").hidden = false;
    clear();
    say("Its middle part is taken, in the shape of width and height.");
  }

  function leave() {
    name = sent = "";
    painted = false;
    at("begin-board").hidden = true;
    at("begin-file").value = "";
    if (at("begin-mask")) at("begin-mask").value = "";
    say("None: drawing begins from noise.");
  }

  function stroke(event) {
    const canvas = at("begin-canvas"), box = canvas.getBoundingClientRect();
    const place = [((event.clientX - box.left) * canvas.width) / box.width, ((event.clientY - box.top) * canvas.height) / box.height];
    const context = mask.getContext("2d");
    context.strokeStyle = "white";
    context.lineCap = "round";
    context.lineWidth = 2 * BRUSH * Math.max(canvas.width, canvas.height);
    context.beginPath();
    context.moveTo(...(last || place));
    context.lineTo(...place);
    context.stroke();
    last = place;
    painted = true;
    sent = "";
    paint();
  }

  // White on black, as the server reads it.
  function flat() {
    const canvas = document.createElement("canvas");
    canvas.width = mask.width;
    canvas.height = mask.height;
    const context = canvas.getContext("2d");
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.drawImage(mask, 0, 0);
    return new Promise((done) => canvas.toBlob(done, "image/png"));
  }

  async function attempt(work) {
    try { await work(); } catch (error) { say(error.message, true); }
  }

  document.addEventListener("change", (event) => {
    const file = event.target.files && event.target.files[0];
    if (event.target.id === "begin-file" && file) {
      attempt(async () => {
        leave();
        say("Sending ...");
        const taken = await send(file);
        name = taken;
        await show(URL.createObjectURL(file), taken);
      });
    } else if (event.target.id === "begin-mask" && file) {
      attempt(async () => {
        sent = await send(file);
        painted = true;
        say("The mask is taken: what is white in it is drawn anew.");
      });
    }
  });
  document.addEventListener("input", (event) => {
    if (event.target.id === "begin-strength") at("begin-share").textContent = Number(event.target.value).toFixed(2);
  });
  document.addEventListener("click", (event) => {
    const from = event.target.closest(".begin-from");
    if (from) {
      const details = document.querySelector("details.begin");
      details.open = true;
      details.scrollIntoView({ behavior: "smooth", block: "nearest" });
      attempt(() => { leave(); return show("/v1/images/" + from.dataset.name, from.dataset.name); });
    }
    if (event.target.id === "begin-clear") { at("begin-mask").value = ""; clear(); say("All of the picture is drawn anew."); }
    if (event.target.id === "begin-leave") leave();
  });
  document.addEventListener("pointerdown", (event) => {
    if (event.target.id !== "begin-canvas") return;
    event.preventDefault();
    event.target.setPointerCapture(event.pointerId);
    last = null;
    stroke(event);
  });
  document.addEventListener("pointermove", (event) => {
    if (event.target.id === "begin-canvas" && event.buttons) stroke(event);
  });

  // What an order says of it; a painted mask is sent first.
  t2i.begun = async () => {
    if (!name) return {};
    try {
      if (painted && !sent) sent = await send(await flat());
    } catch (error) {
      return { fault: error.message };
    }
    return { image: name, mask: painted ? sent : "", strength: Number(at("begin-strength").value) };
  };
})();
