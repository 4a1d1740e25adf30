// XML that a program under Valgrind may spoil: whatever comes, and however it is cut, gives the
// same errors, and what is malformed does not hide the next error.
#include "examples/run/valgrind_xml.h"

#include <string>

#include "examples/run/valgrind_findings.h"
#include "tests/fuzz/fuzz.h"

namespace {

using mrpool::run::ValgrindFindings;
using mrpool::run::ValgrindXml;

struct Written final : mrpool::run::FindingsOutput {
  void for_people(const std::string& text) override { people += text; }
  void line_of_report(const std::string& json) override { report += json; }
  std::string people;
  std::string report;
};

struct Result {
  Written written;
  uint64_t errors = 0;
};

Result read(std::string_view text, size_t at_a_time) {
  static const mrpool::checker::Suppressions none;
  Result out;
  ValgrindFindings findings(42, none, out.written);
  ValgrindXml xml(findings);
  for (size_t at = 0; at < text.size(); at += at_a_time) xml.feed(text.substr(at, at_a_time));
  xml.finish();
  findings.finish();
  out.errors = findings.errors();
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text = mrpool::fuzz::text_of(data, size);
  const Result whole = read(text, size + 1);
  (void)read(text, 3);
  // An error that is well-formed is seen, or raw, unless the output ended before it.
  if (text.find("</valgrindoutput>") != std::string_view::npos) return 0;
  const std::string error = "\n<error>\n<kind>X</kind>\n<what>seen at last</what>\n</error>\n";
  const Result more = read(std::string(text) + "\n</>" + error, size + 1);
  FUZZ_CHECK(more.errors >= whole.errors);
  FUZZ_CHECK(more.written.people.find("seen at last") != std::string::npos);
  return 0;
}
