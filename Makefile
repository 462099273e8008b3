# What people run. `demo` and `test` set up all that they need on a fresh Debian or Ubuntu with Rust.
.PHONY: demo test lint bench fuzz deps build

demo: deps
	cargo build --release --locked
	tests/demo.sh target/release

test:
	deploy/install-deps test
	tests/check.sh

lint:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked
	@if command -v cargo-deny >/dev/null; then cargo deny check; else echo "lint: cargo-deny is not installed: licences and advisories not checked"; fi

bench:
	deploy/install-deps bench
	cargo build --release --locked
	tests/bench/run.sh target/release
	cargo bench -q --locked -p twinseal-tests --bench membership

fuzz:
	tests/fuzz/long.sh

deps:
	deploy/install-deps build

build: deps
	cargo build --release --locked
