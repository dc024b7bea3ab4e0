# For people; cargo does the work.
#
#   make demo-live   attacks over a wire of this machine's own, alerts as they come, the report in the browser
#   make demo        the same out of a capture
#   make test        all tests
#   make ci          all that a change has to pass

SUDO = $(shell [ "$$(id -u)" = 0 ] || command -v sudo)
CARGO = cargo

.PHONY: demo-live demo build needs test ci

demo-live: build
	packaging/demo/run

demo: build
	target/debug/dcom-sensor replay -o target/demo/logs pcaps/mmc20-powershell.pcap
	target/debug/dcom-sensor report target/demo/logs -o target/demo/report.html

build: needs
	$(CARGO) build --locked

# On Debian and Ubuntu what is missing is installed.
needs:
	@{ command -v cc && [ -e /usr/include/pcap/pcap.h ] && PATH=$$PATH:/usr/sbin:/sbin command -v ip && command -v python3; } > /dev/null || \
		{ $(SUDO) apt-get update && $(SUDO) apt-get install -y --no-install-recommends gcc libc6-dev libpcap-dev iproute2 python3; }

test: needs
	$(CARGO) test --workspace --locked

ci:
	.ci/run
