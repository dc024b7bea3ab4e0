"""The report as a browser shows it: made by the program from shipped captures, opened from file://."""

import gzip
import json
import os
import re
import subprocess
import unittest
from datetime import datetime, timezone
from pathlib import Path

from playwright.sync_api import expect, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "target" / "report"
SENSOR = os.environ["SENSOR"]
DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}

browser = None


def setUpModule():
    global browser
    OUT.mkdir(parents=True, exist_ok=True)
    runner = sync_playwright().start()
    unittest.addModuleCleanup(runner.stop)
    # The sandbox needs user namespaces, which containers and root do not have; nothing foreign is opened here.
    browser = runner.chromium.launch(executable_path=os.environ["CHROMIUM"], args=["--no-sandbox"])
    unittest.addModuleCleanup(browser.close)


def run(*arguments, status=0):
    done = subprocess.run([SENSOR, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == status, f"{arguments}: {done.returncode}: {done.stderr}"
    return done


def logs_of(*captures):
    """Replays captures; their eve.json."""
    folder = OUT / "logs" / "+".join(captures)
    run("replay", "-q", "-o", folder, *(ROOT / "pcaps" / capture for capture in captures))
    return folder / "eve.json"


def report_of(name, *inputs):
    path = OUT / f"{name}.html"
    run("report", *inputs, "-q", "-o", path)
    return path


def events(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def write_eve(name, lines):
    path = OUT / "logs" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


class Page:
    """A page, with all that it said and asked for."""

    def __init__(self, test, path, viewport=None, scheme="light", **options):
        self.context = browser.new_context(viewport=viewport or DESKTOP, color_scheme=scheme, offline=True, **options)
        test.addCleanup(self.context.close)
        self.page = self.context.new_page()
        self.said, self.asked = [], []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.said.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        url = path.as_uri()
        self.page.on("request", lambda request: request.url != url and self.asked.append(request.url))
        self.page.goto(url)

    def text(self, selector):
        return self.page.locator(selector).first.inner_text()

    def count(self, selector):
        return self.page.locator(selector).count()

    def shown(self):
        """Incidents and alerts that the filter leaves, as the page says it."""
        return [int(number.replace(",", "")) for number in re.findall(r"[\d,]*\d", self.text("#shown"))]

    def settles(self, test, read, expected):
        """What is read becomes what is expected. A busy machine takes its time."""
        for _ in range(100):
            if read() == expected:
                break
            self.page.wait_for_timeout(100)
        test.assertEqual(read(), expected)

    def search(self, test, words, incidents):
        self.page.fill("#search", words)
        self.settles(test, lambda: self.shown()[0], incidents)

    def is_quiet(self, test):
        test.assertEqual(self.said, [])
        test.assertEqual(self.asked, [])

    def fits(self, test):
        wide, have = self.page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
        test.assertLessEqual(wide, have)


def contrast(page, selector, background="body"):
    """Of a text's colour and what lies under it, as WCAG has it."""
    colours = page.evaluate(
        """([text, under]) => [getComputedStyle(document.querySelector(text)).color,
            getComputedStyle(document.querySelector(under)).backgroundColor]""",
        [selector, background],
    )

    def luminance(colour):
        parts = [float(part) / 255 for part in re.findall(r"[\d.]+", colour)[:3]]
        linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted(map(luminance, colours), reverse=True)
    return (light + 0.05) / (dark + 0.05)


class OneIncident(unittest.TestCase):
    """What was done with one object, against the eve.json it was made from."""

    @classmethod
    def setUpClass(cls):
        cls.eve = logs_of("mmc20-powershell.pcap")
        cls.path = report_of("powershell", cls.eve.parent)
        cls.events = events(cls.eve)
        cls.alerts = [event for event in cls.events if event["event_type"] == "alert"]
        cls.execution = next(alert for alert in cls.alerts if alert["alert"]["signature_id"] == 1021303)

    def test_headline_says_who_reached_whom_and_how_far(self):
        page = Page(self, self.path)
        dcom = self.execution["dcom"]
        headline = page.text("h1")
        for part in (self.execution["src_ip"], self.execution["dest_ip"], dcom["class"], "powershell.exe", dcom["server"]["netbios"]):
            self.assertIn(part, headline)
        self.assertIn("Not confirmed by a host", page.text(".verdict"))
        self.assertIn("LAB\\alice", page.text(".facts"))
        page.is_quiet(self)

    def test_graph_has_an_arrow_that_tells_class_and_command(self):
        page = Page(self, self.path)
        self.assertEqual(page.count("#graph-box .node"), 2)
        self.assertEqual(page.count("#graph-box .edge"), 1)
        self.assertFalse(page.page.locator("#graph-tip").is_visible())
        page.page.hover("#graph-box .edge .mark")
        tip = page.text("#graph-tip")
        self.assertIn(self.execution["dcom"]["class"], tip)
        self.assertIn(self.execution["dcom"]["command_line"][:60], tip)
        page.page.mouse.move(5, 5)
        self.assertFalse(page.page.locator("#graph-tip").is_visible())
        # The same with the keyboard, and for those who do not see it.
        page.page.locator("#graph-box .edge").focus()
        self.assertIn("powershell.exe", page.text("#graph-tip"))
        self.assertIn("powershell.exe", page.page.locator("#graph-box .edge").get_attribute("aria-label"))
        page.page.keyboard.press("Enter")
        self.assertEqual(page.page.locator("#graph-box .edge").get_attribute("aria-pressed"), "true")
        self.assertEqual(page.count("#chips button"), 1)
        page.is_quiet(self)

    def test_card_tells_the_chain_as_the_log_does(self):
        page = Page(self, self.path)
        card = page.text(".incident")
        dcom = self.execution["dcom"]
        for part in (
            dcom["object_path"] + "." + dcom["method"],
            dcom["command_line"],
            dcom["decoded_command"],
            dcom["hresult_name"],
            f"frame {self.execution['pcap_cnt']} → {self.execution['reply_pcap_cnt']}",
            "Activation of MMC20.Application",
            "Host: not asked",
            "T1021.003",
            "LAB\\alice",
            "impacket",
        ):
            self.assertIn(part, card)
        for alert in self.alerts:
            self.assertIn(str(alert["alert"]["signature_id"]), card)
            self.assertIn(alert["alert"]["signature"], card)
        self.assertEqual(page.page.locator("[data-evidence]").get_attribute("data-evidence"), dcom["evidence"])
        self.assertEqual(page.count(".incident .chain > [data-kind=activation]"), 1)
        # The calls between are folded away, not gone.
        calls = sum(event["event_type"] == "dcom" and event["dcom"]["kind"] == "call" for event in self.events)
        self.assertEqual(page.count(".incident [data-kind=call]"), calls)
        page.is_quiet(self)

    def test_filters_find_the_packets(self):
        page = Page(self, self.path)
        filters = [box.inner_text().strip() for box in page.page.locator(".packets pre").all()]
        self.assertEqual(len(filters), 2)
        decisive = {alert[key] for alert in self.alerts for key in ("pcap_cnt", "reply_pcap_cnt")}
        self.assertEqual({int(number) for number in re.findall(r"\d+", filters[0])}, decisive)
        try:
            frames = [
                set(map(int, subprocess.run(
                    ["tshark", "-r", ROOT / "pcaps" / "mmc20-powershell.pcap", "-Y", text, "-T", "fields", "-e", "frame.number"],
                    capture_output=True, text=True, check=True).stdout.split()))
                for text in filters
            ]
        except FileNotFoundError:
            self.skipTest("there is no tshark")
        self.assertEqual(frames[0], decisive)
        self.assertTrue(decisive < frames[1])

    def test_copying_copies(self):
        page = Page(self, self.path, permissions=["clipboard-read", "clipboard-write"])
        page.page.locator(".packets button").first.click()
        # Not wait_for_function: it evaluates text in the page, which the page's policy forbids.
        expect(page.page.locator(".packets button").first).to_have_text("Copied")
        self.assertEqual(page.page.evaluate("navigator.clipboard.readText()"), page.page.locator(".packets pre").first.inner_text())

    def test_it_prints(self):
        page = Page(self, self.path)
        pdf = page.page.pdf(path=str(OUT / "powershell.pdf"), format="A4", print_background=True)
        self.assertEqual(pdf[:5], b"%PDF-")
        self.assertGreater(len(pdf), 20_000)
        page.page.emulate_media(media="print")
        self.assertFalse(page.page.locator("#search").is_visible())
        self.assertTrue(page.page.locator(".incident .body").is_visible())

    def test_it_says_what_it_is_without_scripts(self):
        page = Page(self, self.path, java_script_enabled=False)
        self.assertIn("powershell.exe", page.text("h1"))
        self.assertIn("LAB\\alice", page.text(".facts"))
        self.assertTrue(page.page.get_by_text("need JavaScript").is_visible())


class Looks(unittest.TestCase):
    """Light and dark, wide and narrow: nothing sticks out, everything can be read."""

    def test_every_size_and_colour(self):
        logs = OUT / "logs" / "all"
        run("replay", "-q", "-o", logs, ROOT / "pcaps")
        path = report_of("all", logs)
        for viewport in (DESKTOP, PHONE):
            for scheme in ("light", "dark"):
                page = Page(self, path, viewport, scheme)
                page.fits(self)
                for text in (".verdict", ".hint", ".step-meta", "footer p", ".s1 .step-alerts li, .step-alerts .s1", ".facts dt"):
                    under = ".incident" if "step" in text else "body"
                    self.assertGreater(contrast(page.page, text, under), 4.5, f"{text} in {scheme}")
                name = f"all-{viewport['width']}-{scheme}.png"
                page.page.screenshot(path=str(OUT / name), full_page=True)
                page.is_quiet(self)

    def test_every_class_of_capture_fits_a_phone(self):
        for capture in ("mmc20-many-targets", "mmc20-sealed", "benign-class-signed", "resolver-sweep", "mmc20-ipv6", "mmc20-midstream"):
            page = Page(self, report_of(capture, logs_of(f"{capture}.pcap")), PHONE)
            page.fits(self)
            page.is_quiet(self)

    def test_the_switch_goes_before_the_system(self):
        page = Page(self, report_of("switch", logs_of("mmc20-connect.pcap")), scheme="dark")
        background = lambda: page.page.evaluate("getComputedStyle(document.body).backgroundColor")
        dark = background()
        page.page.click("#theme")
        self.assertIn("light", page.text("#theme"))
        light = background()
        self.assertNotEqual(light, dark)
        page.page.click("#theme")
        self.assertEqual(background(), dark)
        page.page.emulate_media(color_scheme="light")
        self.assertEqual(background(), dark)
        page.page.click("#theme")
        self.assertEqual(background(), light)


class Truth(unittest.TestCase):
    """What the page says of captures in which less was seen."""

    def test_nothing_found_is_not_all_clear(self):
        page = Page(self, report_of("benign", logs_of("benign-class-signed.pcap")))
        self.assertTrue(page.text("h1").startswith("No alert"))
        self.assertFalse(page.page.locator("#graph").is_visible())
        self.assertTrue(page.page.locator("#unseen").is_visible())
        page.is_quiet(self)

    def test_what_was_sealed_is_a_conclusion_and_says_so(self):
        eve = logs_of("mmc20-sealed.pcap")
        page = Page(self, report_of("sealed", eve))
        self.assertIn("probably", page.text("h1"))
        card = page.text(".incident")
        for because in next(event for event in events(eve) if event["event_type"] == "alert")["dcom"]["because"]:
            self.assertIn(because, card)
        self.assertIn("sealed", card)
        self.assertEqual(page.count(".incident .chain > [data-kind=activation]"), 1)
        stats = events(eve)[-1]["dcom"]
        self.assertIn(f"{stats['rpc']['sealed']} RPC PDU", page.text("#hidden"))
        page.is_quiet(self)

    def test_what_was_lost_is_told(self):
        eve = logs_of("mmc20-gap.pcap")
        page = Page(self, report_of("gap", eve))
        missing = events(eve)[-1]["dcom"]["flow"]["bytes_missing"]
        self.assertGreater(missing, 0)
        self.assertIn(f"{missing} bytes", page.text("#loss"))

    def test_the_host_confirms(self):
        eve = logs_of("mmc20-connect.pcap")
        lines = events(eve)
        host = {
            "verdict": "confirmed", "process": {"image": "C:\\Windows\\System32\\cmd.exe", "command_line": "cmd.exe /Q /c whoami", "pid": 4711},
            "parent": {"image": "C:\\Windows\\System32\\mmc.exe"}, "time_delta_ms": 286, "call_delta_ms": 35, "matched_on": ["command_line", "time"], "source": "Sysmon 1",
        }
        for line in lines:
            if line.get("alert", {}).get("signature_id") == 1021303:
                line["dcom"]["host"] = host
        page = Page(self, report_of("confirmed", write_eve("confirmed.json", lines)))
        self.assertIn("Confirmed by the host", page.text(".verdict"))
        self.assertEqual(page.page.locator(".verdict").get_attribute("data-verdict"), "confirmed")
        card = page.text(".incident")
        for part in ("mmc.exe", "Sysmon 1 35 ms after the call", "command_line, time", "4711"):
            self.assertIn(part, card)
        self.assertNotIn("not asked", card)
        page.is_quiet(self)

    def test_alerts_of_host_logs_are_shown(self):
        line = {
            "timestamp": "2020-07-18T23:10:02.061141+0000", "event_type": "alert",
            "alert": {"signature_id": 1021380, "signature": "Process started by a DCOM server", "severity": 2, "metadata": {"pattern": ["MMC20_DCOM"], "mitre_technique_id": ["T1021.003"]}},
            "host_event": {"host": "SRV01", "source": "Sysmon 1", "input": "sysmon.evtx", "record": 7, "process": {"command_line": "cmd.exe /c whoami"}, "parent": {"image": "mmc.exe"}, "because": ["its parent holds MMC20.Application"]},
        }
        page = Page(self, report_of("hunt", write_eve("hunt.json", [line])))
        self.assertIn("SRV01", page.text("h1"))
        card = page.text(".incident")
        for part in ("MMC20_DCOM", "cmd.exe /c whoami", "mmc.exe", "Sysmon 1 in sysmon.evtx", "its parent holds MMC20.Application"):
            self.assertIn(part, card)
        page.is_quiet(self)

    def test_targets_of_a_fan_out_are_all_in_the_graph(self):
        eve = logs_of("mmc20-many-targets.pcap")
        page = Page(self, report_of("many-targets", eve))
        pairs = {(event["src_ip"], event["dest_ip"]) for event in events(eve) if event["event_type"] == "alert"}
        self.assertEqual(page.count("#graph-box .edge"), len(pairs))
        self.assertEqual(page.count("#graph-box .node"), len({end for pair in pairs for end in pair}))
        self.assertEqual(page.shown()[0], len(pairs))


class Many(unittest.TestCase):
    """Twenty thousand alerts, in a compressed log."""

    NUMBER = 20_000

    @classmethod
    def setUpClass(cls):
        lines = []
        for number in range(cls.NUMBER):
            executed = number % 4 == 0
            time_of = datetime.fromtimestamp(1_700_000_000 + number * 4, timezone.utc)
            lines.append({
                "timestamp": time_of.strftime("%Y-%m-%dT%H:%M:%S.%f+0000"), "event_type": "alert", "flow_id": number, "pcap_cnt": number + 1,
                "src_ip": f"10.0.{number % 3}.{number % 19}", "src_port": 40_000, "dest_ip": f"10.1.{number % 4}.{number * 7 % 250}", "dest_port": 135,
                "proto": "TCP",
                "alert": {"signature_id": 1021303 if executed else 1021301, "signature": "Execution" if executed else "Activation", "severity": 1 + number % 5},
                "dcom": {"kind": "call" if executed else "activation", "class": "MMC20.Application", "outcome": "succeeded",
                         "evidence": "arguments" if executed else "class", **({"command_line": f"cmd.exe /c echo {number}"} if executed else {})},
            })
        path = OUT / "logs" / "many" / "eve-2023-11-15T20-00-00.000000.json.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress("".join(json.dumps(line) + "\n" for line in lines).encode(), 1))
        cls.path = report_of("many", path.parent)

    def test_it_opens_and_stays_small(self):
        page = Page(self, self.path)
        page.page.wait_for_selector(".incident")
        self.assertLess(page.page.evaluate("document.querySelectorAll('*').length"), 3_000)
        self.assertEqual(page.shown()[1], self.NUMBER)
        self.assertLess(page.count("#graph-box .node"), 25)
        page.is_quiet(self)

    def test_the_table_reaches_every_alert_with_few_rows(self):
        page = Page(self, self.path)
        self.assertEqual(page.page.locator("#table").get_attribute("aria-rowcount"), str(self.NUMBER + 1))
        page.page.evaluate("document.getElementById('rows').scrollTop = 1e9")
        page.page.wait_for_selector(f"[aria-rowindex='{self.NUMBER + 1}']")
        self.assertLess(page.count("#rows .row"), 60)
        # Sorted by severity the worst come first; then the mildest.
        page.page.evaluate("document.getElementById('rows').scrollTop = 0")
        for expected in ("critical", "informational"):
            page.page.get_by_role("button", name="Severity", exact=True).click()
            expect(page.page.locator("#rows .row").first).to_contain_text(expected)

    def test_filters_agree_with_the_log(self):
        page = Page(self, self.path)
        every = page.shown()[0]
        page.search(self, "echo 19996", 1)
        self.assertEqual(page.shown(), [1, 1])
        page.search(self, "", every)
        for severity in (2, 3, 4, 5):
            page.page.click(f"[data-severity='{severity}']")
        self.assertEqual(page.shown()[1], self.NUMBER // 5)
        page.search(self, "no such thing", 0)
        self.assertEqual(page.shown(), [0, 0])
        self.assertIn("No incident fits", page.text("#cards"))
        page.is_quiet(self)

    def test_the_timeline_zooms(self):
        page = Page(self, self.path)
        svg = page.page.locator("#timeline-box svg")

        def span():
            return [int(svg.get_attribute(name)) for name in ("data-from", "data-to")]

        whole, all_alerts = span(), page.shown()[1]
        page.page.click("#zoom-in")
        half = span()
        self.assertAlmostEqual((half[1] - half[0]) / (whole[1] - whole[0]), 0.5, places=2)
        self.assertLess(page.shown()[1], all_alerts)
        page.page.click("#later")
        self.assertGreater(span()[0], half[0])
        # Drag over a tenth of it.
        box = svg.bounding_box()
        y = box["y"] + box["height"] / 3
        page.page.mouse.move(box["x"] + box["width"] * 0.5, y - 12)
        page.page.mouse.down()
        page.page.mouse.move(box["x"] + box["width"] * 0.6, y - 12, steps=4)
        page.page.mouse.up()
        dragged = span()
        self.assertLess(dragged[1] - dragged[0], (half[1] - half[0]) / 5)
        svg.focus()
        page.page.keyboard.press("0")
        self.assertEqual(span(), whole)
        self.assertEqual(page.shown()[1], all_alerts)
        page.page.keyboard.press("+")
        self.assertLess(span()[1] - span()[0], whole[1] - whole[0])
        page.is_quiet(self)

    def test_a_mark_can_be_zoomed_down_to_its_alert(self):
        page = Page(self, self.path)
        for _ in range(12):
            # The last is on top of all others.
            mark = page.page.locator("#timeline-box .point[role=button]").last
            if mark.get_attribute("data-number") == "1":
                break
            mark.click()
        self.assertEqual(mark.get_attribute("data-number"), "1")
        mark.hover()
        self.assertTrue(page.page.locator("#timeline-tip").is_visible())

    def test_it_prints_in_reasonable_length(self):
        page = Page(self, self.path)
        pdf = page.page.pdf(format="A4")
        pages = len(re.findall(rb"/Type\s*/Page\b", pdf))
        self.assertTrue(5 < pages < 80, pages)

    def test_a_row_leads_to_its_incident(self):
        page = Page(self, self.path)
        page.page.locator("#rows .row").first.click()
        opened = page.page.locator(".incident[open] summary:focus")
        self.assertEqual(opened.count(), 1)


HOSTILE = [
    "</script><script>window.pwned = 1</script>",
    "<img src=x onerror=\"window.pwned = 2\">",
    "\"><svg onload=window.pwned=3>",
    "' onmouseover='window.pwned = 4' x='",
    "javascript:window.pwned=5",
    "</title><h6>headline</h6>",
    "<!-- <script>",
    "]]></style><style>body { display: none }</style>",
    "{{constructor.constructor('window.pwned = 6')()}}${window.pwned = 7}",
    "@import url(https://192.0.2.1/x.css); background: url(https://192.0.2.1/y)",
    "a\u202egnp.exe\u2066\u200b\ufeff\u0007\u001b[31m",
    "line\u2028separator\u2029and\r\nmore",
    "__proto__", "constructor", "@DATA@",
]


class Hostile(unittest.TestCase):
    """What stands in a capture is shown and never obeyed."""

    @staticmethod
    def lines():
        for number, text in enumerate(HOSTILE):
            named = {"name": text, "confidence": text, "because": [text], "family": text}
            yield {
                "timestamp": f"2020-07-18T23:10:{number:02}.061141+0000", "event_type": "alert", "flow_id": number, "pcap_cnt": number + 1,
                "pcap_filename": text, "src_ip": text, "src_port": 50_000, "dest_ip": text, "dest_port": 135, "proto": text,
                "alert": {"signature_id": 1021303 + number * 1000, "signature": text, "category": text, "severity": 1 + number % 5,
                          "metadata": {key: [text] for key in ("confidence", "mitre_technique_id", "mitre_technique_name", "mitre_tactic_id",
                                                               "mitre_tactic_name", "targets", "classes")}},
                "dcom": {"kind": "call" if number % 2 else text, "operation": text, "interface": {"uuid": text, "name": text}, "class": text, "clsid": text,
                         "object_path": text, "method": text, "arguments": [text, text], "command_line": text, "decoded_command": text,
                         "result": text, "outcome": text, "hresult_name": text, "evidence": text, "because": [text], "tool": named, "key": text,
                         "auth": {"service": text, "level": text}, "client": {"user": text, "domain": text},
                         "server": {"netbios": text, "dns": text, "runs_as": text}, "decrypted": True, "sealed_stub_length": 5,
                         "host": {"verdict": text, "process": {text: text}, "parent": {text: text}, "time_delta_ms": 1, "matched_on": [text], "source": text}},
            }
            yield {"timestamp": "2020-07-18T23:11:00.000000+0000", "event_type": "anomaly", "anomaly": {"event": text}}

    def test_nothing_of_it_runs_or_becomes_an_element(self):
        path = report_of("hostile", write_eve("hostile.json", self.lines()))
        markup = path.read_text()
        self.assertEqual(markup.count("<script"), 2)
        for character in "\u202e\u2066\u200b\ufeff\u2028\u2029\u0007\u001b":
            self.assertNotIn(character, markup)
        for scheme in ("light", "dark"):
            page = Page(self, path, PHONE if scheme == "dark" else DESKTOP, scheme)
            for _ in range(5):
                if page.page.locator("#more").is_visible():
                    page.page.click("#more")
            page.page.evaluate("document.querySelectorAll('details').forEach((box) => { box.open = true; })")
            page.page.wait_for_timeout(200)
            page.page.evaluate("document.querySelectorAll('.edge, .point, .row').forEach((one) => { one.dispatchEvent(new PointerEvent('pointerenter')); one.dispatchEvent(new MouseEvent('mouseover')); })")
            every = page.shown()[0]
            page.search(self, "<img", 1)
            page.search(self, "", every)
            self.assertIsNone(page.page.evaluate("window.pwned ?? null"))
            self.assertEqual(page.count("img, iframe, object, embed, link, base, form, h6, video, audio"), 0)
            self.assertEqual(page.count("script"), 2)
            self.assertEqual(page.count("style"), 1)
            attributes = page.page.evaluate(
                "[...document.querySelectorAll('*')].flatMap((one) => [...one.attributes].map((a) => a.name)).filter((name) => name.startsWith('on'))")
            self.assertEqual(attributes, [])
            links = page.page.evaluate("[...document.querySelectorAll('[href], [src]')].map((one) => one.getAttribute('href') || one.getAttribute('src'))")
            self.assertEqual(set(links), {"#incidents"})
            shown = page.page.evaluate("document.body.textContent")
            self.assertIn("<img src=x onerror=", shown)
            self.assertIn("\\u{202e}gnp.exe", shown)
            self.assertTrue(page.page.locator("h1").is_visible())
            page.fits(self)
            page.is_quiet(self)

    def test_what_a_page_may_do_is_forbidden_by_its_own_policy(self):
        page = Page(self, report_of("policy", logs_of("mmc20-connect.pcap")))
        policy = page.page.locator("meta[http-equiv=Content-Security-Policy]").get_attribute("content")
        self.assertIn("default-src 'none'", policy)
        self.assertNotIn("unsafe", policy)
        page.page.evaluate("""() => {
            const script = document.createElement('script'); script.textContent = 'window.pwned = 8'; document.body.append(script);
            const image = document.createElement('img'); image.src = 'https://192.0.2.1/x.png'; document.body.append(image);
            document.body.setAttribute('onclick', 'window.pwned = 9');
        }""")
        page.page.click("h1")
        page.settles(self, lambda: len(page.said) >= 3, True)
        self.assertIsNone(page.page.evaluate("window.pwned ?? null"))
        self.assertTrue(all("Content Security Policy" in said for said in page.said), page.said)


if __name__ == "__main__":
    unittest.main(verbosity=1)
