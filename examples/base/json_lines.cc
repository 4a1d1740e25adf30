#include "examples/base/json_lines.h"

#include <boost/json/parse.hpp>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"

namespace mrpool::base {
namespace {

// Walks over a text that a parser has accepted.
class Walk {
 public:
  using Lines = std::map<std::string, uint32_t, std::less<>>;
  Walk(std::string_view text, Lines& lines) : text_(text), lines_(lines) {}

  void value(const std::string& path) {
    skip_space();
    lines_.emplace(path, line_);
    if (peek() == '{') return object(path);
    if (peek() == '[') return array(path);
    if (peek() == '"') return (void)string();
    while (at_ < text_.size() && std::string_view(",]} \t\r\n").find(peek()) == text_.npos) ++at_;
  }
  const std::optional<std::string>& twice() const { return twice_; }

 private:
  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  void skip_space() {
    for (; at_ < text_.size() && std::string_view(" \t\r\n").find(peek()) != text_.npos; ++at_) {
      line_ += peek() == '\n';
    }
  }
  // Moves past the next character that is not a space; false: it is not `wanted`, and stays.
  bool pass(char wanted) {
    skip_space();
    if (peek() != wanted) return false;
    ++at_;
    return true;
  }
  std::string_view string() {
    const size_t begin = at_++;
    while (at_ < text_.size() && peek() != '"') at_ += peek() == '\\' ? 2 : 1;
    ++at_;
    return text_.substr(begin, at_ - begin);
  }
  void object(const std::string& path) {
    std::map<std::string, uint32_t> keys;
    ++at_;
    while (!pass('}') && at_ < text_.size()) {
      skip_space();
      const std::string_view written = string();
      const std::string key(boost::json::parse({written.data(), written.size()}).as_string());
      const auto [first, fresh] = keys.emplace(key, line_);
      if (!fresh && !twice_) {
        twice_ = absl::StrCat(at_line(line_), path, path.empty() ? "" : ".", key,
                              " is given twice, first in line ", first->second,
                              "; leave one of them out");
      }
      pass(':');
      value(absl::StrCat(path, path.empty() ? "" : ".", key));
      pass(',');
    }
  }
  void array(const std::string& path) {
    ++at_;
    for (size_t i = 0; !pass(']') && at_ < text_.size(); ++i) {
      value(absl::StrCat(path, "[", i, "]"));
      pass(',');
    }
  }

  const std::string_view text_;
  Lines& lines_;
  size_t at_ = 0;
  uint32_t line_ = 1;
  std::optional<std::string> twice_;
};

}  // namespace

absl::StatusOr<JsonLines> JsonLines::find(std::string_view json) {
  JsonLines lines;
  Walk walk(json, lines.lines_);
  walk.value({});
  if (walk.twice()) return absl::InvalidArgumentError(*walk.twice());
  return lines;
}

uint32_t JsonLines::line(std::string_view path) const {
  const auto found = lines_.find(path);
  return found == lines_.end() ? 0 : found->second;
}

std::string at_line(uint32_t line) {
  return line == 0 ? std::string() : absl::StrCat("line ", line, ": ");
}

}  // namespace mrpool::base
