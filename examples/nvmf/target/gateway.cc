#include "examples/nvmf/target/gateway.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <cstdlib>
#include <map>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "examples/base/log.h"

namespace mrpool::nvmf_target {

namespace asio = boost::asio;

namespace {

constexpr std::string_view kIdsKey = "cntlids-";
// Between two looks at late requests.
constexpr std::chrono::milliseconds kLook{20};

uint32_t number_of(std::string_view group) {
  return uint32_t(std::strtoul(std::string(group).c_str(), nullptr, 10));
}

struct Range {
  uint32_t least = 0;
  uint32_t most = 0;
};

std::map<std::string, Range> parse_ids(std::string_view text) {
  std::map<std::string, Range> all;
  const std::vector<std::string> words = absl::StrSplit(std::string(text), ' ');
  for (size_t i = 0; i + 2 < words.size(); i += 3) {
    Range range;
    if (!absl::SimpleAtoi(words[i + 1], &range.least) ||
        !absl::SimpleAtoi(words[i + 2], &range.most)) {
      return {};
    }
    all.emplace(words[i], range);
  }
  return all;
}

void report(const absl::Status& status) {
  if (status.ok()) return;
  base::log(
      {.event = base::Event::kGatewayLost, .message = absl::StrCat("gateway: ", status.message())});
}

}  // namespace

std::string controller_ids(const Config& config) {
  std::string text;
  for (const SubsystemConfig& each : config.subsystems) {
    absl::StrAppend(&text, text.empty() ? "" : " ", each.nqn, " ", each.min_cntlid, " ",
                    each.max_cntlid);
  }
  return text;
}

std::string shared_ids(std::string_view own, std::string_view other) {
  const auto mine = parse_ids(own);
  for (const auto& [nqn, theirs] : parse_ids(other)) {
    const auto at = mine.find(nqn);
    if (at != mine.end() && theirs.least <= at->second.most && at->second.least <= theirs.most) {
      return nqn;
    }
  }
  return {};
}

absl::Status Gateway::start() {
  const std::string ids = controller_ids(live_.config());
  const absl::Status status = group_.note(absl::StrCat(std::string(kIdsKey), group_.name()), ids);
  if (!status.ok()) return status;
  group_.start(administration_.loop, *this, gateway_groups(live_.config()));
  return absl::OkStatus();
}

// Also those that are not served: their sizes and their notices of them are then those of the
// cluster.
void Gateway::client_changed(std::string_view) {
  if (std::exchange(opening_, true)) return;
  std::vector<engine::Step> steps = live_.again();
  steps.insert(steps.begin(), engine::Step{.run = [this] {
                 opening_ = false;
                 return absl::OkStatus();
               }});
  administration_.changes.add(std::move(steps), report);
}

void Gateway::prepare(std::string_view group, Done done) {
  std::vector<engine::Step> steps = live_.again();
  steps.push_back({engine::Step::Where::kAside,
                   [this, number = number_of(group)] { return service_.take_over(number); }});
  administration_.changes.add(std::move(steps), [done = std::move(done)](absl::Status status) {
    report(status);
    done(status.ok());
  });
}

void Gateway::serve(std::string_view group) {
  service_.set_ownership(number_of(group), AnaState::kOptimized);
}

void Gateway::stop(std::string_view group) {
  service_.set_ownership(number_of(group), AnaState::kInaccessible);
  service_.take_away(number_of(group), nvme::Status::kAnaInaccessible);
}

void Gateway::drain(std::string_view group, Done done) {
  const uint32_t number = number_of(group);
  service_.set_ownership(number, AnaState::kInaccessible);
  service_.drain(number, [this, number, done = std::move(done)]() mutable {
    asio::post(administration_.loop, [this, number, done = std::move(done)]() mutable {
      look_if_drained(number, std::move(done));
    });
  });
}

// Commands of hosts that are gone have ended; requests that the store has not answered yet block
// their ranges.
void Gateway::look_if_drained(uint32_t ana_group, Done done) {
  const std::vector<Namespace> all = service_.namespaces_of(ana_group);
  if (std::ranges::none_of(all, [](const Namespace& ns) { return ns.volume->late().any(); })) {
    return yield(all, std::move(done));
  }
  const auto timer = std::make_shared<asio::steady_timer>(administration_.loop, kLook);
  timer->async_wait([this, timer, ana_group, done = std::move(done)](auto error) mutable {
    if (!error) look_if_drained(ana_group, std::move(done));
  });
}

// The next owner's first write does not wait for the locks of this one.
void Gateway::yield(std::vector<Namespace> all, Done done) {
  const auto shared = std::make_shared<const std::vector<Namespace>>(std::move(all));
  std::vector<engine::Step> steps{{engine::Step::Where::kAside, [shared] {
                                     for (const Namespace& ns : *shared) ns.volume->yield();
                                     return absl::OkStatus();
                                   }}};
  administration_.changes.add(std::move(steps), [shared,
                                                 done = std::move(done)](const absl::Status&) {
    done(std::ranges::none_of(*shared, [](const Namespace& ns) { return ns.volume->fenced(); }));
  });
}

bool Gateway::fenced(std::string_view group) {
  return std::ranges::any_of(service_.namespaces_of(number_of(group)),
                             [](const Namespace& ns) { return ns.volume->fenced(); });
}

// Linux refuses a controller whose id another one of the subsystem has.
void Gateway::records_read(const gateway::Records& records) {
  const std::string own = controller_ids(live_.config());
  for (const auto& [key, text] : records) {
    if (!std::string_view(key).starts_with(kIdsKey)) continue;
    const std::string other = key.substr(kIdsKey.size());
    if (other == group_.name() || gateway::text_of(records, gateway::member_key(other)).empty()) {
      continue;
    }
    const std::string nqn = shared_ids(own, text);
    if (nqn.empty() || !warned_.insert(absl::StrCat(other, " ", text)).second) continue;
    base::log({.event = base::Event::kGatewayLost,
               .target = nqn,
               .message = absl::StrCat(
                   "gateway ", group_.name(), ": gateway ", other,
                   " gives controller ids of the same range for ", nqn,
                   "; hosts refuse the second one. Give each gateway a range of its own "
                   "(min_cntlid, max_cntlid)")});
  }
}

}  // namespace mrpool::nvmf_target
