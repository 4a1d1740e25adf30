#include "examples/run/valgrind_xml.h"

#include <expat.h>

#include <algorithm>
#include <charconv>
#include <utility>

namespace mrpool::run {
namespace {

constexpr char kRoot[] = "valgrindoutput";
constexpr std::string_view kNextError = "<error>\n";
constexpr std::string_view kBegin = "<valgrindoutput>";
constexpr std::string_view kEnd = "</valgrindoutput>\n";
// Of stacks and errors.
constexpr size_t kMaxPieces = 1024;

template <typename Number>
Number number_of(std::string_view text, int base = 10) {
  Number out = 0;
  std::from_chars(text.data(), text.data() + text.size(), out, base);
  return out;
}

}  // namespace

// Expat, and the element that it is in.
class ValgrindXml::Parser {
 public:
  explicit Parser(ValgrindEvents& events) : events_(events), expat_(::XML_ParserCreate(nullptr)) {
    ::XML_SetUserData(expat_, this);
    ::XML_SetElementHandler(
        expat_,
        [](void* self, const char* name, const char**) { static_cast<Parser*>(self)->begin(name); },
        [](void* self, const char*) { static_cast<Parser*>(self)->end(); });
    ::XML_SetCharacterDataHandler(expat_, [](void* self, const char* text, int bytes) {
      static_cast<Parser*>(self)->add({text, static_cast<size_t>(bytes)});
    });
  }
  ~Parser() { ::XML_ParserFree(expat_); }
  Parser(const Parser&) = delete;
  Parser& operator=(const Parser&) = delete;

  // Null: well-formed so far; else why not.
  const char* feed(std::string_view bytes) {
    const size_t before = fed_;
    fed_ += bytes.size();
    if (::XML_Parse(expat_, bytes.data(), static_cast<int>(bytes.size()), 0) != XML_STATUS_ERROR) {
      return nullptr;
    }
    const XML_Index at = ::XML_GetCurrentByteIndex(expat_);
    fault_ = at < 0 ? 0 : static_cast<size_t>(at) - std::min(static_cast<size_t>(at), before);
    return ::XML_ErrorString(::XML_GetErrorCode(expat_));
  }
  bool ended() const { return ended_; }
  // How much of all that was fed is done with.
  size_t done() const { return done_; }
  size_t fed() const { return fed_; }
  // Where in the bytes of the last call the fault is.
  size_t fault() const { return fault_; }

 private:
  void begin(const char* name) {
    path_.emplace_back(name);
    text_.clear();
    if (path_.size() != 2) return;
    error_ = {};
    message_ = {};
    signal_ = {};
  }

  void add(std::string_view text) {
    text_.append(text.substr(0, kMaxTextBytes - std::min(text_.size(), kMaxTextBytes)));
  }

  void end() {
    const std::string name = std::move(path_.back());
    path_.pop_back();
    if (path_.empty()) {
      ended_ = name == kRoot;
    } else {
      const std::string& parent = path_.back();
      const std::string& top = path_.size() > 1 ? path_[1] : name;
      if (parent == "frame") end_of_frame(name);
      if (parent == "stack" && name == "frame") end_frame();
      if (top == "error") end_in_error(name, parent);
      if (top == "clientmsg") end_in_message(name);
      if (top == "fatal_signal") end_in_signal(name);
      if (parent == "pair") end_in_pair(name);
    }
    text_.clear();
    if (path_.size() > 1) return;
    const XML_Index at = ::XML_GetCurrentByteIndex(expat_);
    if (at >= 0) done_ = static_cast<size_t>(at) + ::XML_GetCurrentByteCount(expat_);
  }

  void end_of_frame(const std::string& name) {
    if (name == "ip") frame_.address = text_;
    if (name == "obj") frame_.object = text_;
    if (name == "fn") frame_.function = text_;
    if (name == "dir") frame_.folder = text_;
    if (name == "file") frame_.file = text_;
    if (name == "line") frame_.line = number_of<unsigned>(text_);
  }

  void end_frame() {
    if (stack_.size() < kMaxPieces) stack_.push_back(std::move(frame_));
    frame_ = {};
  }

  void add_part(ValgrindPart::Type type) {
    if (error_.parts.size() >= kMaxPieces) return;
    error_.parts.push_back({.type = type, .text = text_, .stack = std::exchange(stack_, {})});
  }

  void end_in_error(const std::string& name, const std::string& parent) {
    using Type = ValgrindPart::Type;
    if (name == "unique") error_.unique = text_;
    if (name == "tid") error_.thread = number_of<unsigned>(text_);
    if (name == "threadname") error_.thread_name = text_;
    if (name == "kind" && parent == "error") error_.kind = text_;
    if (name == "what" || (name == "text" && parent == "xwhat")) add_part(Type::kWhat);
    if (name == "auxwhat" || (name == "text" && parent == "xauxwhat")) add_part(Type::kMore);
    if (name == "rawtext") add_part(Type::kSuppression);
    if (name == "stack") add_part(Type::kStack);
    if (path_.size() == 1) events_.on_error(error_);
  }

  void end_in_message(const std::string& name) {
    if (name == "text") message_.text = text_;
    if (name == "stack") message_.stack = std::exchange(stack_, {});
    if (path_.size() == 1) events_.on_message(message_);
  }

  void end_in_signal(const std::string& name) {
    if (name == "signo") signal_.number = text_;
    if (name == "signame") signal_.name = text_;
    if (name == "event") signal_.event = text_;
    if (name == "siaddr") signal_.address = text_;
    if (name == "stack") signal_.stack = std::exchange(stack_, {});
    if (path_.size() == 1) events_.on_fatal_signal(signal_);
  }

  void end_in_pair(const std::string& name) {
    if (name == "count") count_ = number_of<uint64_t>(text_);
    if (name == "unique") events_.on_count(text_, count_);
  }

  ValgrindEvents& events_;
  XML_Parser expat_;
  std::vector<std::string> path_;
  std::string text_;  // of the innermost element
  ValgrindFrame frame_;
  ValgrindStack stack_;
  ValgrindError error_;
  ValgrindMessage message_;
  ValgrindSignal signal_;
  uint64_t count_ = 0;
  size_t fed_ = 0;
  size_t done_ = 0;
  size_t fault_ = 0;
  bool ended_ = false;
};

ValgrindXml::ValgrindXml(ValgrindEvents& events)
    : events_(events), parser_(std::make_unique<Parser>(events)) {}

ValgrindXml::~ValgrindXml() = default;

void ValgrindXml::feed(std::string_view bytes) {
  while (!bytes.empty() && !ended_) bytes = parser_ != nullptr ? parse(bytes) : skip(bytes);
}

std::string_view ValgrindXml::parse(std::string_view bytes) {
  // What expat has to keep of an element stays bounded.
  const std::string_view now = bytes.substr(0, kMaxTextBytes);
  const char* const fault = parser_->feed(now);
  if (fault == nullptr) {
    pending_ += now;
    pending_.erase(0,
                   pending_.size() - std::min(pending_.size(), parser_->fed() - parser_->done()));
    ended_ = parser_->ended();
    if (pending_.size() > kMaxElementBytes) give_up("an element is too long");
    return bytes.substr(now.size());
  }
  const size_t at = std::min(parser_->fault(), now.size());
  pending_ += now.substr(0, at);
  pending_.erase(0, pending_.size() - std::min(pending_.size(),
                                               parser_->fed() - now.size() + at - parser_->done()));
  give_up(fault);
  return bytes.substr(at);
}

void ValgrindXml::give_up(std::string_view why) {
  events_.on_raw(pending_.substr(std::min(pending_.find_first_not_of('\n'), pending_.size())), why);
  parser_.reset();
  pending_.clear();
  torn_ = true;
}

std::string_view ValgrindXml::skip(std::string_view bytes) {
  const size_t newline = bytes.find('\n');
  const size_t taken = newline == std::string_view::npos ? bytes.size() : newline + 1;
  pending_ += bytes.substr(0, taken);
  bytes.remove_prefix(taken);
  const bool complete = newline != std::string_view::npos;
  if (!complete && pending_.size() <= kMaxTextBytes) return bytes;
  const std::string line = std::exchange(pending_, {});
  if (line == kNextError && !torn_) {
    parser_ = std::make_unique<Parser>(events_);
    parser_->feed(kBegin);
    feed(line);
    return bytes;
  }
  events_.on_raw(line, {});
  ended_ = line == kEnd && !torn_;
  torn_ = !complete;
  return bytes;
}

void ValgrindXml::finish() {
  if (ended_) return;
  ended_ = true;
  // What precedes the first error has no meaning for findings.
  if (parser_ == nullptr || pending_.find(kNextError) != std::string::npos) {
    events_.on_raw(pending_, parser_ == nullptr ? "" : "it ends within an element");
  }
}

}  // namespace mrpool::run
