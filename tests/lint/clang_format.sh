#!/bin/sh
# Every C++ source is as clang-format leaves it: `clang-format -i FILE` mends one.
set -eu
find . -path ./build -prune -o -path ./.git -prune -o \( -name '*.cc' -o -name '*.h' \) -print0 |
  xargs -0 -r -P 2 -n 40 clang-format --dry-run -Werror
