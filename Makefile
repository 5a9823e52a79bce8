# `make help` lists the targets. Each of them works from a fresh clone on a machine that has only a Swift toolchain.

PREFIX ?= /usr/local
DESTDIR ?=
# More flags for the release build, e.g. --static-swift-stdlib for machines without Swift.
RELEASE_FLAGS ?=

SWIFT ?= $(or $(shell command -v swift 2>/dev/null),$(wildcard /opt/swift/usr/bin/swift))
ifneq ($(SWIFT),)
export PATH := $(PATH):$(patsubst %/,%,$(dir $(SWIFT)))
endif

RELEASE = $(SWIFT) build -c release $(RELEASE_FLAGS)
# Tests and checks share one debug build: the same command, so that nothing is built twice.
DEBUG = $(SWIFT) build --build-tests
# Tesseract's own threads cost more than they give; workers get this from the node.
TEST = OMP_THREAD_LIMIT=1 $(SWIFT) test --skip-build
# Tests run side by side in one process, and some block or load every core. Those that time answers over sockets, and
# the real clusters one after another, come after them, alone.
ALONE = '^(TransportTests|ObjectStorageTests)\.|^NodeTests\.(PrefixWatchTests|ContentPostTests|SourcePeerTests)/'
SUITES = $(TEST) --skip '^ClusterTests\.' --skip $(ALONE) && \
    $(TEST) --filter $(ALONE) && $(TEST) --no-parallel --filter '^ClusterTests\.'

.PHONY: help demo test test-long fuzz check bench bench-membership build install clean toolchain \
    packages-build packages-test packages-bench packages-bench-membership
.DEFAULT_GOAL := help

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 26

demo: toolchain packages-build ## recognise the sample scans (or SCANS=DIR LANGUAGE=eng) and show the text
	@[ -x .build/release/node ] || echo "Building the release binary: about 10 minutes the first time."
	$(RELEASE) --product node
	@scripts/demo.sh

test: toolchain packages-test ## build everything and run the tests
	$(DEBUG)
	$(SUITES)

test-long: toolchain packages-test ## the tests with the whole corpus and more crashes and random operations
	$(DEBUG)
	export OCR_LONG=1; $(SUITES)

fuzz: toolchain packages-build ## decoders of bytes from the network under libFuzzer for FUZZ_SECONDS=600
	@scripts/fuzz.sh

check: toolchain packages-build ## format, warnings (errors in our own targets), links of the documents
	$(SWIFT) format lint -s -r Sources Tests Benchmarks Fuzz Package.swift
	$(DEBUG)
	@scripts/check-docs.sh

bench: toolchain packages-bench ## measure against other ways to do the same work
	@[ -x .build/release/node ] || echo "Building for release: about 15 minutes the first time."
	$(RELEASE)
	@Benchmarks/run.sh

bench-membership: toolchain packages-bench-membership ## measure crash detection, load and cost beside ten agents of serf
	@[ -x .build/release/node ] || echo "Building for release: about 15 minutes the first time."
	$(RELEASE) --product node
	@Benchmarks/run.sh --membership

build: toolchain packages-build ## the release binary, .build/release/node
	$(RELEASE) --product node

install: build ## install to PREFIX=/usr/local (DESTDIR is honoured)
	@case "$$('$(DESTDIR)$(PREFIX)/bin/node' --version 2>/dev/null)" in \
	    v[0-9]*) echo "install: $(DESTDIR)$(PREFIX)/bin/node is Node.js; choose another PREFIX" >&2; exit 1 ;; \
	esac
	install -d '$(DESTDIR)$(PREFIX)/bin' '$(DESTDIR)$(PREFIX)/share/ocr-cluster'
	install -m 755 .build/release/node '$(DESTDIR)$(PREFIX)/bin/node'
	install -m 644 cluster.conf.example LICENSE packaging/systemd/ocr-node.service packaging/cloud-init/user-data.yaml \
	    '$(DESTDIR)$(PREFIX)/share/ocr-cluster/'

clean: ## remove what was built and the output of the demo
	rm -rf .build demo-data

toolchain:
	@[ -n "$(SWIFT)" ] || { \
	    echo "Swift 6.2 or newer is needed and was neither found in PATH nor in /opt/swift/usr/bin." >&2; \
	    echo "Get it from https://www.swift.org/install/linux/ and put its usr/bin into PATH." >&2; exit 1; }

packages-build packages-test packages-bench packages-bench-membership: packages-%:
	@scripts/install-packages.sh $*
