#!/usr/bin/env bash
# Unpacks what the engine and its tests need beside CUDA (jansson, pcre2, utf8proc, liburing, GoogleTest:
# headers, static libraries, x86-64) from Debian's packages into one folder of some MiB, for a machine that
# has neither them nor a network: copy the folder there and name it in MOERING_BUNDLE of run.sh.
#
#     tests/gpu/bundle.sh DIR        on Debian 12, with the package lists fetched (apt-get update)
#
# Static libraries of Debian 12 link on any machine whose C library is as new (2.36).
set -euo pipefail

if [ $# != 1 ]; then
    echo "usage: tests/gpu/bundle.sh DIR" >&2
    exit 2
fi
mkdir -p "$1"
out=$(cd "$1" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cd "$work"
apt-get download libjansson-dev:amd64 libpcre2-dev:amd64 libutf8proc-dev:amd64 libgtest-dev:amd64 \
    liburing-dev:amd64
for package in *.deb; do
    dpkg-deb -x "$package" tree
done
mkdir -p "$out/include" "$out/lib" "$out/licenses"
cp -r tree/usr/include/gtest tree/usr/include/jansson*.h tree/usr/include/pcre2.h \
    tree/usr/include/utf8proc.h tree/usr/include/liburing* "$out/include"
if [ -d tree/usr/include/x86_64-linux-gnu ]; then
    cp -r tree/usr/include/x86_64-linux-gnu/. "$out/include"
fi
for library in jansson pcre2-8 utf8proc uring gtest gtest_main; do
    cp "tree/usr/lib/x86_64-linux-gnu/lib$library.a" "$out/lib"
done
for package in libjansson-dev libpcre2-dev libutf8proc-dev libgtest-dev liburing-dev; do
    cp "tree/usr/share/doc/$package/copyright" "$out/licenses/$package"
done
du -sh "$out"
