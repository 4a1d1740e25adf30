// What the provider finds of this object, by name: it works without it, too.
#include "transport/checker/watch/memory_watch.h"

extern "C" [[gnu::visibility("default")]] mrpool::watch::Watch* mrpool_memory_watch() {
  return &mrpool::watch::MemoryWatch::get();
}
