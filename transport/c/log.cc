// The log and names in C.
#include "mrpool/log.h"

#include <deque>
#include <mutex>

#include "mrpool.h"
#include "mrpool/work.h"

namespace {

struct Sink {
  mrpool_log_sink call;
  void* context;
};

void forward(void* context, mrpool::LogLevel level, std::string_view line) {
  const Sink& sink = *static_cast<const Sink*>(context);
  sink.call(sink.context, mrpool_log_level(level), line.data(), line.size());
}

}  // namespace

void mrpool_set_log_sink(mrpool_log_sink sink, void* context) {
  if (sink == nullptr) return mrpool::set_log_sink(nullptr);
  // Never freed: a call of an earlier sink may be under way.
  static std::mutex mutex;
  static auto* const sinks = new std::deque<Sink>;
  const std::lock_guard lock(mutex);
  sinks->push_back({sink, context});
  mrpool::set_log_sink(&forward, &sinks->back());
}

const char* mrpool_wc_status_str(int status) {
  if (status < MRPOOL_WC_SUCCESS || status > MRPOOL_WC_CANCELLED) return "unknown";
  return to_string(mrpool::WcStatus(status)).data();
}
