# Recipes for building, testing and showing Untangle. Each does its own set-up and can be run again.

set shell := ["bash", "-euo", "pipefail", "-c"]

# Test material that is not part of the repository: models/ and corpora/.
shared := env("UNTANGLE_SHARED", "../shared")
model := shared / "models/stories260k"
text := shared / "corpora/tinystories.txt"

# This list
help:
    @just --list --unsorted --list-heading $'Untangle: dense activations go in; named, tested, manipulable concepts come out.\n\n'

# Put libtorch and cmake into .deps/ (does nothing the second time)
setup:
    @python3 scripts/setup.py

# Build target/release/untangle
build: setup
    cargo build --release --locked

# From text to a steered sentence on a small real model, in about two minutes
demo: build
    @[ -d "{{ model }}" ] && [ -f "{{ text }}" ] || { \
        echo "demo: needs a model and a text, and {{ shared }} has no models/stories260k and corpora/tinystories.txt" >&2; \
        echo "demo: set UNTANGLE_SHARED to a folder that has them, or choose your own:" >&2; \
        echo "demo:   target/release/untangle demo --model MODEL_DIR --text FILE.txt" >&2; \
        exit 3; }
    target/release/untangle demo --model "{{ model }}" --text "{{ text }}"

# All tests of the workspace
test: setup
    cargo test --release --workspace --locked

# Format, clippy and documentation, warnings denied
lint: setup
    cargo fmt --all --check
    cargo clippy --release --workspace --all-targets --locked -- -D warnings
    cargo doc --release --workspace --no-deps --locked --config 'build.rustdocflags = ["-Dwarnings"]'

# Seconds per training step beside the machine's limit
bench: setup
    cargo run --release --locked --package untangle-bench

# Agreement with the Python references, in an environment of its own (.venv-parity)
parity: build
    tests/parity/run

# What a change must pass: tests, then lint
ci: test lint
