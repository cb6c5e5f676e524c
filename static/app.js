// Countersign: everything works without this file; it only makes pages kinder.
const $ = (selector, root = document) => root.querySelector(selector);
const all = (selector, root = document) => [...root.querySelectorAll(selector)];

/* ---- Announcements ---------------------------------------------------- */

// A status element must be in the page before its text changes, and inside the
// modal dialog when one is open: everything outside is inert.
function announce(text, near) {
  const root = near?.closest("dialog") ?? document.body;
  const status = $("[role=status][data-live]", root);
  if (!status) return;
  status.textContent = "";
  setTimeout(() => { status.textContent = text; }, 50);
}

/* ---- Copy ------------------------------------------------------------- */

async function copyText(source) {
  const isField = "value" in source;
  const text = isField ? source.value : source.textContent;
  try {
    await navigator.clipboard.writeText(text); // absent on plain http
    return true;
  } catch {
    if (isField) source.select();
    else getSelection().selectAllChildren(source);
    try { return document.execCommand("copy"); } catch { return false; }
  }
}

function setUpCopy(button) {
  const source = $(button.dataset.copy);
  const label = $("[data-copy-label]", button) ?? button;
  const idle = label.textContent;
  button.hidden = false;
  button.addEventListener("click", async () => {
    const copied = await copyText(source);
    label.textContent = copied ? "Copied" : "Press Ctrl+C";
    announce(copied ? "Copied" : "Selected. Press Ctrl or Command and C to copy.", button);
    setTimeout(() => { label.textContent = idle; }, 3000);
  });
}

/* ---- The secret that is shown once ------------------------------------ */

const secretDialog = $("dialog[data-modal][data-after]");
let unconfirmed = Boolean(secretDialog?.open && $("#api-key")?.value);

function wipeSecret() {
  const field = $("#api-key");
  if (field) {
    field.value = "";
    field.setAttribute("value", "");
  }
  for (const element of all("[data-secret]")) element.textContent = "";
}

function guardSecret() {
  const after = secretDialog.dataset.after;
  // Reload and Back must ask for the key's page, never post again.
  history.replaceState(null, "", after);
  addEventListener("beforeunload", (event) => {
    if (!unconfirmed) return;
    event.preventDefault();
    event.returnValue = "";
  });
  addEventListener("pagehide", wipeSecret);
  addEventListener("pageshow", (event) => {
    if (!event.persisted) return;
    unconfirmed = false;
    wipeSecret();
    location.replace(after);
  });
  // data-release: "I have saved it" and "Not yet" may leave without a question.
  for (const element of all("[data-release]", secretDialog)) {
    element.addEventListener(element.tagName === "FORM" ? "submit" : "click", () => { unconfirmed = false; });
  }
}

/* ---- Modal dialogs ---------------------------------------------------- */

function setUpModal(dialog) {
  if (!dialog.open) return;
  const open = () => {
    dialog.close();
    dialog.showModal();
    $("[autofocus]", dialog)?.focus();
  };
  open();
  const holds = () => unconfirmed && dialog === secretDialog;
  dialog.addEventListener("cancel", (event) => { if (holds()) event.preventDefault(); });
  // Browsers let a second Esc through: stop the key itself, and reopen as a last resort.
  addEventListener("keydown", (event) => { if (event.key === "Escape" && holds()) event.preventDefault(); }, true);
  dialog.addEventListener("close", () => { if (holds() && !dialog.open) dialog.showModal(); });
}

/* ---- Times ------------------------------------------------------------ */

const units = [["year", 31536000], ["month", 2592000], ["week", 604800], ["day", 86400], ["hour", 3600], ["minute", 60]];
const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });

function setUpTime(time) {
  const seconds = (Date.parse(time.dateTime) - Date.now()) / 1000;
  if (Number.isNaN(seconds)) return;
  const [unit, size] = units.find(([, length]) => Math.abs(seconds) >= length) ?? [];
  time.title = time.textContent.trim();
  time.textContent = unit ? relative.format(Math.trunc(seconds / size), unit) : "just now";
}

/* ---- Forms ------------------------------------------------------------ */

// aria-busy instead of disabled: a disabled button would not be sent and loses focus.
function guardSubmit(event) {
  const form = event.target;
  if (event.defaultPrevented || form.method !== "post") return;
  if (form.getAttribute("aria-busy") === "true") return event.preventDefault();
  form.setAttribute("aria-busy", "true");
  setTimeout(() => form.removeAttribute("aria-busy"), 15000);
}

function setUpPassword(button) {
  const field = document.getElementById(button.dataset.togglePassword);
  button.hidden = false;
  button.addEventListener("click", () => {
    const show = field.type === "password";
    field.type = show ? "text" : "password";
    button.textContent = show ? "Hide" : "Show";
    button.setAttribute("aria-label", show ? "Hide password" : "Show password");
    announce(show ? "Password shown" : "Password hidden", button);
  });
  field.form.addEventListener("submit", () => { field.type = "password"; });
}

function setUpAddIp(button) {
  const field = document.getElementById(button.dataset.target);
  const ip = button.dataset.addIp;
  button.hidden = false;
  button.addEventListener("click", () => {
    const listed = field.value.split(/[\s,]+/).filter(Boolean);
    const added = !listed.includes(ip);
    if (added) field.value = [...listed, ip].join("\n");
    announce(added ? `Added ${ip}` : `${ip} is already in the list`, button);
    field.focus();
  });
}

/* ---- Theme ------------------------------------------------------------ */

const themes = [
  { value: "", name: "same as the system", icon: "monitor" },
  { value: "light", name: "light", icon: "sun" },
  { value: "dark", name: "dark", icon: "moon" },
];

function setUpTheme(button) {
  const root = document.documentElement;
  const show = () => {
    const theme = themes.find(({ value }) => value === (root.dataset.theme ?? "")) ?? themes[0];
    const label = `Theme: ${theme.name}`;
    button.setAttribute("aria-label", label);
    button.title = label;
    const use = $("use", button);
    use?.setAttribute("href", use.getAttribute("href").replace(/#.*/, `#${theme.icon}`));
    return themes.indexOf(theme);
  };
  show();
  button.hidden = false;
  button.addEventListener("click", () => {
    const { value, name } = themes[(show() + 1) % themes.length];
    if (value) root.dataset.theme = value;
    else delete root.dataset.theme;
    const secure = location.protocol === "https:" ? "; Secure" : "";
    document.cookie = `theme=${value}; Path=/; Max-Age=31536000; SameSite=Lax${secure}`;
    show();
    announce(`Theme: ${name}`, button);
  });
}

/* ---- Start ------------------------------------------------------------ */

if (unconfirmed) guardSecret();
all("[data-copy]").forEach(setUpCopy);
all("dialog[data-modal]").forEach(setUpModal);
all("time[data-relative]").forEach(setUpTime);
all("[data-toggle-password]").forEach(setUpPassword);
all("[data-add-ip]").forEach(setUpAddIp);
all("[data-theme-toggle]").forEach(setUpTheme);
addEventListener("submit", guardSubmit);
addEventListener("pageshow", () => all("form[aria-busy]").forEach((form) => form.removeAttribute("aria-busy")));
$("[data-error-summary]")?.focus();
