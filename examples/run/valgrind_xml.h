// Valgrind's XML (protocol version 4), of one process, while it is written.
//
// Expat parses it. What is not well-formed, as where a program's own words are in it unescaped, is
// handed on as it is, up to the next error that begins on a line of its own.
//
// Thread safety: distinct objects: safe. Ownership: borrows the events' receiver.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace mrpool::run {

struct ValgrindFrame {
  std::string address;   // "0x109529"
  std::string function;  // empty: unknown
  std::string object;
  std::string folder;  // of the file
  std::string file;    // empty: no debugging information
  unsigned line = 0;
};
using ValgrindStack = std::vector<ValgrindFrame>;

// A piece of an error, in the order of the report.
struct ValgrindPart {
  enum class Type : uint8_t { kWhat, kMore, kStack, kSuppression };
  Type type = Type::kWhat;
  std::string text;
  ValgrindStack stack;  // kStack
};

struct ValgrindError {
  std::string unique;  // names it among the counts at the end
  std::string kind;    // "InvalidRead"
  unsigned thread = 1;
  std::string thread_name;
  std::vector<ValgrindPart> parts;
};

// Words of the program (VALGRIND_PRINTF), with or without the stack.
struct ValgrindMessage {
  std::string text;
  ValgrindStack stack;
};

// The signal that ends the process.
struct ValgrindSignal {
  std::string number;
  std::string name;
  std::string event;    // empty: not known
  std::string address;  // empty: none
  ValgrindStack stack;
};

class ValgrindEvents {
 public:
  virtual void on_error(const ValgrindError& error) = 0;
  virtual void on_message(const ValgrindMessage& message) = 0;
  virtual void on_fatal_signal(const ValgrindSignal& signal) = 0;
  // How often an error came, at the end.
  virtual void on_count(const std::string& unique, uint64_t count) = 0;
  // What cannot be parsed; `why` is empty for what follows.
  virtual void on_raw(std::string_view text, std::string_view why) = 0;

 protected:
  ~ValgrindEvents() = default;
};

class ValgrindXml {
 public:
  // An element, and a text in it, at most. Longer texts are cut off; a longer element is raw.
  static constexpr size_t kMaxElementBytes = size_t{1} << 20;
  static constexpr size_t kMaxTextBytes = size_t{1} << 16;

  explicit ValgrindXml(ValgrindEvents& events);
  ~ValgrindXml();
  ValgrindXml(const ValgrindXml&) = delete;
  ValgrindXml& operator=(const ValgrindXml&) = delete;

  void feed(std::string_view bytes);
  // The input has ended: the rest is raw.
  void finish();
  // The end of Valgrind's output has come.
  bool ended() const { return ended_; }

 private:
  class Parser;

  // Both return what is still to be done.
  std::string_view parse(std::string_view bytes);
  std::string_view skip(std::string_view bytes);
  void give_up(std::string_view why);

  ValgrindEvents& events_;
  std::unique_ptr<Parser> parser_;  // null: skips to the next error
  std::string pending_;             // since the last complete element; when it skips, of this line
  bool torn_ = false;               // it skips, and the begin of this line is raw already
  bool ended_ = false;
};

}  // namespace mrpool::run
