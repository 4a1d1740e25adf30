#include "examples/run/valgrind_findings.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "transport/checker/json.h"
#include "transport/checker/monitor.h"
#include "transport/checker/received_bytes.h"

namespace mrpool::run {
namespace {

using checker::Frame;
using Type = ValgrindPart::Type;

constexpr std::string_view kAddress = "Address 0x";
constexpr std::string_view kSystemCall = "Syscall param ";
constexpr std::string_view kUnaddressable = " points to unaddressable byte(s)";

std::string_view name_of(std::string_view path) { return path.substr(path.rfind('/') + 1); }

bool is_inline_call(const ValgrindFrame& frame) {
  return (frame.file == "verbs.h" && absl::EndsWith(frame.folder, "/infiniband")) ||
         (frame.file == "rdma_verbs.h" && absl::EndsWith(frame.folder, "/rdma"));
}

// As the checker captures them: from the program's first frame to main().
std::vector<Frame> frames_of(const ValgrindStack& stack) {
  std::vector<Frame> out;
  for (const ValgrindFrame& frame : stack) {
    const bool ours = name_of(frame.object).starts_with("libmrpool-");
    if ((out.empty() && ours) || is_inline_call(frame)) continue;
    const bool whole = frame.folder.empty() || frame.file.starts_with('/');
    out.push_back({.function = frame.function,
                   .file = whole ? frame.file : absl::StrCat(frame.folder, "/", frame.file),
                   .line = static_cast<int>(frame.line),
                   .object = frame.object});
    if (frame.function == "main") break;
  }
  return out;
}

// What the program did; nothing: not an access.
std::optional<std::string> access_of(const ValgrindError& error) {
  if (error.kind == "InvalidRead" || error.kind == "InvalidJump") return "a load of";
  if (error.kind == "InvalidWrite") return "a store to";
  if (error.kind != "SyscallParam") return std::nullopt;
  for (const ValgrindPart& part : error.parts) {
    std::string_view what = part.text;
    if (part.type != Type::kWhat || !what.starts_with(kSystemCall)) continue;
    if (!what.ends_with(kUnaddressable)) continue;
    what.remove_prefix(kSystemCall.size());
    what.remove_suffix(kUnaddressable.size());
    return absl::StrCat("the system call ", absl::string_view(what.data(), what.size()),
                        " touched");
  }
  return std::nullopt;
}

std::optional<uintptr_t> address_in(std::string_view text) {
  const size_t at = text.find(kAddress);
  if (at == std::string_view::npos) return std::nullopt;
  uintptr_t address = 0;
  const char* const begin = text.data() + at + kAddress.size();
  const auto [end, error] = std::from_chars(begin, text.data() + text.size(), address, 16);
  return error == std::errc{} ? std::optional(address) : std::nullopt;
}

// With the words of people for what find_word() finds.
std::string readable(std::string_view text) {
  const auto found = checker::find_word(text);
  if (!found) return std::string(text);
  std::string out(text);
  out.replace(found->begin, found->end - found->begin,
              absl::StrCat("range that came by ", checker::origin_of(found->bytes), ": MR lkey 0x",
                           absl::Hex(found->bytes.lkey), ","));
  return out;
}

std::string place_of(const ValgrindFrame& frame) {
  const std::string function = frame.function.empty() ? "???" : frame.function;
  if (!frame.file.empty()) return absl::StrCat(function, " (", frame.file, ":", frame.line, ")");
  return frame.object.empty() ? function : absl::StrCat(function, " (in ", frame.object, ")");
}

// Memcheck counts no other leaks as errors.
bool is_error(const std::string& kind) {
  return !absl::StartsWith(kind, "Leak_") || kind == "Leak_DefinitelyLost" ||
         kind == "Leak_PossiblyLost";
}

}  // namespace

void ValgrindFindings::on_error(const ValgrindError& error) {
  if (const std::optional<std::string> how = access_of(error)) {
    for (const ValgrindPart& part : error.parts) {
      if (part.type != Type::kMore) continue;
      const auto found = checker::find_word(part.text);
      const std::optional<uintptr_t> address = address_in(part.text);
      if (!found || !address) continue;
      return add_premature(error, checker::text_of(*how, *address, found->bytes),
                           found->bytes.lkey);
    }
  }
  write_other(error);
}

void ValgrindFindings::add_premature(const ValgrindError& error, const std::string& text,
                                     uint32_t lkey) {
  constexpr checker::Kind kKind = checker::Kind::kPrematureAccess;
  const auto stack = std::ranges::find(error.parts, Type::kStack, &ValgrindPart::type);
  std::vector<Frames> stacks;
  stacks.push_back(stack == error.parts.end() ? Frames{} : frames_of(stack->stack));
  checker::Finding finding{.kind = kKind, .text = text, .where = {}, .origins = {}};
  if (const auto region = regions_.find(lkey); region != regions_.end()) {
    finding.origins.push_back({"registered here", {}});
    stacks.push_back(region->second);
  }
  std::vector<std::string> key;
  for (const Frames& frames : stacks) {
    for (const Frame& frame : frames) key.push_back(to_string(frame));
    key.emplace_back();
  }
  Seen& seen = seen_[std::move(key)];
  by_unique_[error.unique] = &seen;
  if (++seen.count > 1) return;
  seen.text = text;
  seen.suppressed = std::ranges::any_of(stacks, [&](const Frames& frames) {
    return suppressions_.match(checker::info(kKind).name, frames);
  });
  ++(seen.suppressed ? counts_.suppressed : counts_.errors);
  if (seen.suppressed) return;
  output_.for_people(checker::for_people(finding, stacks));
  output_.line_of_report(checker::to_json(finding, stacks, pid_));
}

std::string ValgrindFindings::prefix() const { return absl::StrCat("==", pid_, "== "); }

std::string ValgrindFindings::text_of(const ValgrindStack& stack) const {
  std::string out;
  for (const ValgrindFrame& frame : stack) {
    absl::StrAppend(&out, prefix(), out.empty() ? "   at " : "   by ", frame.address, ": ",
                    place_of(frame), "\n");
  }
  return out;
}

void ValgrindFindings::write_other(const ValgrindError& error) {
  others_ += is_error(error.kind) ? 1 : 0;
  std::string out;
  if (error.thread != thread_) {
    thread_ = error.thread;
    absl::StrAppend(&out, prefix(), "Thread ", thread_, error.thread_name.empty() ? "" : " ",
                    error.thread_name, ":\n");
  }
  for (const ValgrindPart& part : error.parts) {
    switch (part.type) {
      case Type::kWhat:
        absl::StrAppend(&out, prefix(), readable(part.text), "\n");
        break;
      case Type::kMore:
        absl::StrAppend(&out, prefix(), " ", readable(part.text), "\n");
        break;
      case Type::kStack:
        out += text_of(part.stack);
        break;
      case Type::kSuppression:
        absl::StrAppend(&out, part.text, "\n");
        break;
    }
  }
  output_.for_people(absl::StrCat(out, prefix(), "\n"));
}

void ValgrindFindings::on_message(const ValgrindMessage& message) {
  std::string_view text = message.text;
  text = text.substr(0, text.find_last_not_of(" \n") + 1);
  if (const std::string_view word = checker::kRegisteredWord; text.starts_with(word)) {
    return add_region(text.substr(word.size()), message.stack);
  }
  if (const std::string_view word = checker::kCountsWord; text.starts_with(word)) {
    return add_counts(text.substr(word.size()));
  }
  output_.for_people(absl::StrCat("**", pid_, "** ", absl::string_view(text.data(), text.size()),
                                  "\n", text_of(message.stack)));
}

void ValgrindFindings::add_region(std::string_view lkey, const ValgrindStack& stack) {
  uint32_t key = 0;
  std::from_chars(lkey.data(), lkey.data() + lkey.size(), key, 16);
  if (regions_.size() >= kMaxRegions) regions_.erase(regions_.begin());
  regions_[key] = frames_of(stack);
}

void ValgrindFindings::add_counts(std::string_view counts) {
  was_told_ = true;
  const char* at = counts.data();
  const char* const end = at + counts.size();
  for (uint64_t* const to : {&told_.errors, &told_.hints, &told_.suppressed}) {
    at = std::from_chars(at, end, *to).ptr;
    if (at != end) ++at;
  }
}

void ValgrindFindings::on_fatal_signal(const ValgrindSignal& signal) {
  std::string out =
      absl::StrCat(prefix(), "\n", prefix(), "Process terminating with default action of signal ",
                   signal.number, " (", signal.name, ")\n");
  if (!signal.event.empty()) {
    absl::StrAppend(&out, prefix(), " ", signal.event, signal.address.empty() ? "" : " at address ",
                    signal.address, "\n");
  }
  output_.for_people(absl::StrCat(out, text_of(signal.stack)));
}

void ValgrindFindings::on_count(const std::string& unique, uint64_t count) {
  const auto found = by_unique_.find(unique);
  if (found != by_unique_.end()) found->second->count += count - std::min<uint64_t>(count, 1);
}

void ValgrindFindings::on_raw(std::string_view text, std::string_view why) {
  if (!why.empty()) {
    output_.for_people(
        absl::StrCat("mrpool-run: Valgrind's XML of process ", pid_, " cannot be parsed (",
                     absl::string_view(why.data(), why.size()), "); its text follows unchanged\n"));
  }
  if (text.find("<error>") != std::string_view::npos) ++others_;
  output_.for_people(std::string(text));
}

void ValgrindFindings::finish() {
  const bool spoke = was_told_ || !seen_.empty();
  if (!spoke) return;
  std::string repeated;
  for (const auto& [key, seen] : seen_) {
    if (seen.count < 2 || seen.suppressed) continue;
    repeated += checker::for_people(seen.count, checker::Kind::kPrematureAccess, seen.text);
  }
  const checker::Counts counts{.errors = counts_.errors + told_.errors,
                               .hints = counts_.hints + told_.hints,
                               .suppressed = counts_.suppressed + told_.suppressed};
  output_.for_people(repeated + checker::for_people(counts));
  output_.line_of_report(checker::to_json(counts, pid_));
}

}  // namespace mrpool::run
