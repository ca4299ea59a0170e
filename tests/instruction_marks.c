/* Let a program under valgrind say which of its instructions are counted. */
#include <valgrind/callgrind.h>

void begin_counting(void) {
  CALLGRIND_START_INSTRUMENTATION;
  CALLGRIND_ZERO_STATS;
}

void end_counting(const char *what) {
  CALLGRIND_DUMP_STATS_AT(what);
  CALLGRIND_STOP_INSTRUMENTATION;
}
