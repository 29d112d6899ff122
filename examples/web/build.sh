#!/usr/bin/env bash
# Builds the example into examples/web/page, from where any server of files serves it:
#
#     examples/web/build.sh
#     python3 -m http.server --directory examples/web/page 8000
#
# Needs the target wasm32-unknown-unknown (rustup target add wasm32-unknown-unknown). Where rustup cannot add it,
# Debian's rustc-web, rust-web-src and lld build it: WEB_TOOLCHAIN=debian examples/web/build.sh
set -euo pipefail
cd "$(dirname "$0")/../.."

version=$(sed -n '/^name = "wasm-bindgen"$/{n;s/version = "\(.*\)"/\1/p}' Cargo.lock)
tools=$PWD/target/tools
if ! "$tools/bin/wasm-bindgen" --version 2>/dev/null | grep -qxF "wasm-bindgen $version"; then
    # Without its own lock where a mirror does not have all that it names.
    cargo install wasm-bindgen-cli --version "$version" --root "$tools" --locked ||
        cargo install wasm-bindgen-cli --version "$version" --root "$tools"
fi

build=(cargo build --release -p isomax-web --target wasm32-unknown-unknown --target-dir target/wasm)
if [ "${WEB_TOOLCHAIN:-rustup}" = debian ]; then
    RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=wasm-ld \
        "${build[@]}" -Zbuild-std=std,panic_abort
else
    "${build[@]}"
fi

page=examples/web/page
"$tools/bin/wasm-bindgen" --target web --no-typescript --out-dir "$page/built" \
    target/wasm/wasm32-unknown-unknown/release/isomax_web.wasm
cp weights/*.safetensors "$page/built"
ls -l "$page/built"
