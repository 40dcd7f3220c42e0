# What people do here. Each is a line or two; the rest is cargo's.

# All programs, as `cargo test` builds them. Naming some packages would have cargo build the dependencies of those again, with the
# features that they alone want: wasmtime was built three times.
BUILD = cargo build --quiet
GUEST = cargo build --quiet --profile guest --target wasm32-wasip2
# Where cargo puts what it builds: CARGO_TARGET_DIR, or target/.
TARGET := $(or $(CARGO_TARGET_DIR),target)
BUILT = $(TARGET)/wasm32-wasip2/guest

EXAMPLES = hello hang report frontpage
GUESTS = $(notdir $(wildcard tests/guests/*))
# A file is renamed into place, so that a host which watches the directory never sees half of one.
# Cargo writes start-hang as start_hang.
put = for name in $(1); do cp $(BUILT)/$$(echo $$name | tr - _).wasm $(2)/.$$name.new && mv $(2)/.$$name.new $(2)/$$name.wasm || exit; done

.PHONY: run test browser screenshots hostile leak chaos mutants fuzz fuzz-check guards docs lint bench bench-hung bench-schedules bench-store bench-tasks bench-lists soak examples guests wasm-target postgres

run: examples ## Try it: the examples, their remotes, and the host
	cargo build --quiet -p sexton -p example-frontpage-remotes
	scripts/run.sh $(TARGET)/debug

test: guests examples postgres ## Every test
	$(BUILD) && cargo test -- --test-threads 4
	$(MAKE) browser
	$(MAKE) hostile && $(MAKE) leak LEAK=1000 && $(MAKE) chaos CHAOS='--seconds 30 --runs 200'
	$(MAKE) chaos CHAOS='--seconds 30 --runs 200 --break-fence'

browser: guests ## The dashboard in Chromium, with and without JavaScript, and its accessibility; installs Chromium if it is missing
	$(BUILD) && scripts/browser.sh test $(TARGET)

PAGE =
screenshots: guests ## Every page at three widths in light and dark, into target/screenshots; `make screenshots PAGE=now` for one
	$(BUILD) && scripts/browser.sh screenshots $(TARGET) $(PAGE)

hostile: guests ## Attack a host in every way there is; see docs/hostile.md
	$(BUILD) && $(TARGET)/debug/hostile

LEAK = 10000
leak: guests ## Interrupt many runs, and compare the host with what it was before
	$(BUILD) && $(TARGET)/debug/hostile --leak $(LEAK)

CHAOS =
chaos: guests postgres ## Three hosts on one database, killed, stopped and cut off: what becomes of their runs?
	$(BUILD) && $(TARGET)/debug/chaos $(CHAOS)

MUTANTS =
# Most of a mutant's time goes into building and into tests: so neither optimized code nor debug information, what was built before
# is built upon, and of the tests without those that go through all clocks there are, which take six times as long as the others.
SWEEPS = changes:: walks:: people::
# In bounded memory: a change may make something grow for ever.
mutate = mkdir -p $(TARGET)/mutants && ulimit -Sv 8388608 && CARGO_TARGET_DIR=$(abspath $(TARGET))/mutated CARGO_INCREMENTAL=1 CARGO_PROFILE_DEV_DEBUG=0 PROPTEST_CASES=32 \
	cargo mutants -o $(TARGET)/mutants/$(1) --timeout 60 $(2) $(MUTANTS)
mutants: mutants-domain mutants-rules ## Change rules a place at a time: does a test notice? `cargo install cargo-mutants --locked` first; see docs/testing.md

mutants-domain: ## The domain, which includes crontabs, with its own tests
	$(call mutate,domain,-p sexton-domain) -- --lib -- $(SWEEPS:%=--skip %)

mutants-rules: ## The store's rules, with their own tests and those of the SQLite store
	$(call mutate,rules,-p sexton-store -f 'host/store/src/rules/**') -- --lib -- rules:: sqlite::tests::keeps::

FUZZ = crontab
SECONDS = 60
fuzz: ## Any bytes at all for one reader of texts, a target of fuzz/: `make fuzz FUZZ=crontab SECONDS=3600`
	scripts/fuzz.sh $(FUZZ) $(SECONDS)

guards: ## Who uses whom, circles of files, what is too long, and links of the documents: see tests/guards
	cargo run --quiet -p guards

docs: guards ## The documents as a book, target/book/index.html; no warnings, no broken links
	@command -v mdbook > /dev/null || { echo 'mdbook is not installed: `cargo install mdbook --locked` does it' >&2; exit 1; }
	@scripts/book.sh

fuzz-check: ## The fuzz targets compile: against fuzz/unlinked instead of libFuzzer, so that little more than them is checked
	@cp Cargo.lock fuzz/Cargo.lock
	CARGO_TARGET_DIR=$(abspath $(TARGET)) cargo check --quiet --manifest-path fuzz/Cargo.toml --features host \
		--config 'patch.crates-io.libfuzzer-sys.path="fuzz/unlinked"'

lint: wasm-target guards fuzz-check ## Formatting, structure, clippy for the host and for guests, that fuzz targets compile, and the documentation
	cargo fmt --check && cargo clippy --all-targets -- -D warnings
	cargo clippy --profile guest --target wasm32-wasip2 $(EXAMPLES:%=-p example-%) -p 'guest-*' -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --no-deps --quiet

bench: guests ## Measure; ends with `figure NAME VALUE UNIT` lines
	cargo bench --bench run_cost --bench host

bench-hung: guests ## What the others notice of a thousand hung plugins
	cargo bench --bench hung

bench-schedules: guests ## What a million added schedules cost
	cargo bench --bench schedules

bench-store: guests postgres ## Both stores and what others use: runs a second, and the way to a start
	cargo bench --bench store

bench-tasks: guests postgres ## What 100,000 tasks in one host cost, beside ten
	cargo bench --bench tasks

bench-lists: guests postgres ## Lists of a million runs by every word of the filter, on both stores
	cargo bench --bench lists

soak: guests ## An hour of good and hostile tasks: is anything lost, late, or leaking?
	cargo bench --bench soak

examples: wasm-target ## The examples, into plugins/
	$(GUEST) $(EXAMPLES:%=-p example-%)
	@$(call put,$(EXAMPLES),plugins)

guests: wasm-target ## What the tests run, into target/guests/
	$(GUEST) $(EXAMPLES:%=-p example-%) -p 'guest-*' && mkdir -p $(TARGET)/guests
	@$(call put,$(GUESTS) $(EXAMPLES),$(TARGET)/guests)

wasm-target:
	@scripts/wasm-target.sh

postgres: ## What the tests start of PostgreSQL is there
	@scripts/postgres.sh
