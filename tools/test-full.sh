#!/bin/bash
# tools/test.sh with every test in its long form, and the thread sanitizer.
exec env TEST_SCALE=full "$(dirname "$0")/test.sh"
