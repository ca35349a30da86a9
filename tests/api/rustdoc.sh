#!/bin/sh
# rustdoc with its unstable options, as cargo's RUSTDOC. The variable that allows them is set for rustdoc alone: build
# scripts look at it, too, and all dependencies would be built again.
RUSTC_BOOTSTRAP=1 exec "$(dirname "$CARGO")/rustdoc" "$@"
