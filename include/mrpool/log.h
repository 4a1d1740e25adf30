// The library's own messages: a rule that the program has broken, an error that no call can return,
// the report of the ordering sanitizer. They are few, and none is on a data path.
//
// Thread safety: any thread.
#pragma once

#include <cstdint>
#include <string_view>

namespace mrpool {

// How serious a line is.
enum class LogLevel : uint8_t {
  kInfo,   // a report that was asked for; a peer that was refused
  kError,  // something did not work and the program goes on
  kFatal,  // a rule is broken; abort() follows. The stack comes as lines of its own
};
// The level's name, for people.
std::string_view to_string(LogLevel level);

// `line` has no line feed and is valid during the call. Called from the thread that reports, and
// from several threads at the same time; must not throw.
using LogSink = void (*)(void* context, LogLevel level, std::string_view line);

// From now on messages go to `sink`. Null: to stderr, each headed by "mrpool: ", as at the start. A
// call of the earlier sink that is under way in another thread may end after this returns.
void set_log_sink(LogSink sink, void* context = nullptr);

}  // namespace mrpool
