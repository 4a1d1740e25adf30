#!/usr/bin/env python3
"""Every check finds what it is for: each is given a piece of code that breaks its rule."""
import pathlib
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
sys.path.insert(1, str(pathlib.Path(__file__).resolve().parents[1] / "docs"))
import blocks_test  # noqa: E402
import coverage  # noqa: E402
import directions  # noqa: E402
import duplicates  # noqa: E402
import excerpts  # noqa: E402
import functions  # noqa: E402
import links  # noqa: E402
import messages  # noqa: E402
import names  # noqa: E402
import options  # noqa: E402
import pages  # noqa: E402
import prose  # noqa: E402
import public_api  # noqa: E402
import test_names  # noqa: E402
from source import strip_comments  # noqa: E402


class Directions(unittest.TestCase):
    def test_each_folder_may_include_itself_and_what_is_below_it(self):
        for path, name in (
                ("examples/engine/worker.cc", "examples/engine/worker.h"),
                ("examples/nvmf/target/queue.cc", "examples/engine/link.h"),
                ("examples/nvmf/target/queue.cc", "examples/protocol/nvme/wire.h"),
                ("examples/iser/initiator/session.cc", "examples/protocol/scsi/sense.h"),
                ("pool/rw.cc", "mrpool/rw.h")):
            self.assertTrue(directions.may_include(path, name), f"{path} {name}")

    def test_nothing_else(self):
        for path, name in (
                ("examples/engine/worker.cc", "examples/protocol/nvme/wire.h"),
                ("examples/protocol/iscsi/login.cc", "examples/protocol/scsi/sense.h"),
                ("examples/protocol/scsi/mode.cc", "examples/storage/storage.h"),
                ("examples/storage/file.cc", "examples/engine/worker.h"),
                ("examples/nvmf/host/queue.cc", "examples/nvmf/target/limits.h"),
                ("examples/nvmf/host/queue.cc", "examples/storage/storage.h"),
                ("examples/nvmf/target/queue.cc", "examples/iser/target/site.h"),
                ("examples/hello/client.cc", "pool/rw_plan.h"),
                ("transport/uiwarp/qp.cc", "transport/verbs/qp.h"),
                ("pool/rw.cc", "transport/uiwarp/qp.h"),
                ("somewhere/new.cc", "mrpool/rw.h")):
            self.assertFalse(directions.may_include(path, name), f"{path} {name}")


class Names(unittest.TestCase):
    def test_files_and_symbols_that_are_not_there(self):
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            (root / "examples").mkdir()
            (root / "examples/queue.cc").write_text("void abort_command();\n")

            def findings(text):
                return list(names.missing(text, ["examples/queue.cc"], root))
            self.assertEqual(findings("`examples/queue.cc`, `queue.cc: abort_command`, `examples/`, "
                                      "`build/bench/report.txt`, `CHAP.h X`"), [])
            self.assertEqual(findings("`pages.cc`"), ["names pages.cc, which is not there"])
            self.assertEqual(findings("`examples/{queue.cc,unit/nvmf_target}`"),
                             ["names examples/unit/nvmf_target, which is not there"])
            self.assertEqual(findings("`queue.cc: fetch`"),
                             ["finds fetch in queue.cc, which does not have it"])


class Prose(unittest.TestCase):
    def findings(self, text):
        return [f"{number}: {problem}" for number, problem in prose.problems(text)]

    def test_long_sentences(self):
        sentence = " ".join(["word"] * 35)
        self.assertEqual(self.findings(f"# Title\n\n{sentence}.\n\n{sentence}. A {sentence}"),
                         ["5: a sentence of 36 words; 35 are the most: A " + "word " * 11 + "wor..."])
        # A list is not one sentence, and code is one word.
        self.assertEqual(self.findings(f"- {sentence}\n- {sentence}\n"), [])
        self.assertEqual(self.findings(" ".join(["`a b c`"] * 35) + ". Word."), [])

    def test_calques(self):
        for text, word in (("It runs behind it.", "behind"), ("The fault was mended.", "mended"),
                           ("It counts the figures.", "figures"), ("What a log\ntells.", "tells"),
                           ("This is no option.", "is no"), ("| a | it says |", "says")):
            self.assertIn(f'"{word}": write', "".join(self.findings(text)), text)
        self.assertEqual(self.findings("There is no option. It is no longer used. Figure 6."), [])

    def test_comments(self):
        def findings(text):
            return [f"{number}: {problem}" for number, problem in prose.problems_of_comments(text)]

        sentence = " ".join(["word"] * 35)
        self.assertEqual(findings(f"int a;\n// {sentence}.\n// get() {sentence}.\n"),
                         ["2: a sentence of 36 words; 35 are the most: get() " + "word " * 10 + "word..."])
        # A table is left out, and so is code and a comment after code.
        self.assertEqual(findings("//   behind\nint behind;  // behind\n"), [])
        self.assertEqual(len(findings("  // It is\n  // behind.\n\n  // behind\n")), 2)

    def test_long_table_cells(self):
        self.assertIn("2: a table cell of 301", self.findings(f"\n| a | {'x' * 301} |")[0])
        self.assertEqual(self.findings(f"| {'x' * 300} | {'y' * 300} |"), [])

    def test_code_is_left_out(self):
        self.assertEqual(self.findings("`behind`\n\n```\nbehind\n```\n\n    mend\n"), [])
        self.assertEqual(len(self.findings("```\nbehind\n```\nbehind\n")), 1)
        # An indented line of a list is text.
        self.assertEqual(len(self.findings("- one\n\n      behind\n")), 1)


class Links(unittest.TestCase):
    def test_files_and_headings(self):
        with tempfile.TemporaryDirectory() as folder:
            page = pathlib.Path(folder, "page.md")
            pathlib.Path(folder, "other.md").write_text("# The `key` of it\n## Two\n## Two\n")
            page.write_text("[a](other.md) [b](other.md#the-key-of-it) [c](other.md#two-1) [d](#e)\n"
                            "[w](https://a.example/x.md) `[code](gone.md)` ![p](gone.svg)\n\n# E\n"
                            "[f](other.md#three)\n")
            self.assertEqual(list(links.problems(page)), [
                (2, "links to gone.svg, which does not exist"),
                (5, "links to other.md#three, but other.md has no such heading")])

    def test_the_index_has_every_page(self):
        index = "[a](a.md) [b](log/b.md#c)"
        self.assertEqual(links.not_in_index(index, ["README.md", "a.md", "log/b.md", "d.md"]),
                         ["d.md"])

    def test_every_page_is_looked_at(self):
        names_of_pages = {page.name for page in pages.pages()}
        self.assertLessEqual({"README.md", "ARCHITECTURE.md", "uiwarp.md"}, names_of_pages)


class Coverage(unittest.TestCase):
    def test_keys_and_statistics_without_a_word_are_found(self):
        source = '  object.text("nqn", to.nqn);\n  object.number("nsid", to.nsid, {});\n'
        self.assertEqual(coverage.missing("`nqn` and {\"nsid\": 1}", source, coverage.KEY), [])
        self.assertEqual(coverage.missing("`nqn`, nsid", source, coverage.KEY), ["nsid"])
        table = "#define T(X) \\\n  X(reads, \"commands\") \\\n  X(writes, \"commands\")\n"
        self.assertEqual(coverage.unwritten(source, '{"nqn", a}'), ["nsid"])
        self.assertEqual(coverage.unwritten(source, '"nqn" "nsid"'), [])
        self.assertEqual(coverage.missing("`worker/N/reads`", table, coverage.COUNTER), ["writes"])

    def test_values_of_an_enumeration(self):
        source = ("enum class A : int {\n  kOne,  // kTwo\n};\n"
                  "enum class [[nodiscard]] AB : int{\n    kThree,\n    kFour,\n};\n")
        self.assertEqual(coverage.values(source, "A"), ["kOne"])
        self.assertEqual(coverage.values(source, "AB"), ["kThree", "kFour"])
        self.assertEqual(coverage.values(source, "B"), [])


    def test_methods_of_the_control_socket(self):
        source = ('add_change(\n      "nvmf_create_subsystem", "make one", {});\n'
                  'methods.add({.name = "log_get_level", .run = {}});\n'
                  'add_memory("bdev_null", "null", "Null");\n')
        self.assertEqual(coverage.missing("`nvmf_create_subsystem`", source, coverage.METHOD),
                         ["log_get_level"])

    def test_a_key_is_looked_for_in_its_section(self):
        page = "# Keys\n## a\n`one`\n### b\n`two`\n## c\n`three`\n"
        self.assertEqual(coverage.named(coverage.section(page, "a")), {"one", "two"})
        self.assertEqual(coverage.named(coverage.section(page, "c")), {"three"})
        manual = ".TP\n.B one\nFirst.\n.TP\n.B four\nIs not on the page, unlike\n.B two\n"
        self.assertEqual(coverage.missing(page, manual, coverage.MANUAL), ["four"])


class PublicApi(unittest.TestCase):
    HEADER = """#pragma once
#define MRPOOL_ONE 1
#define MRPOOL_COUNTERS_(X) X(a)
namespace mrpool {
namespace internal { void hidden(); }
class Other;
enum class Way : uint8_t { kIn, kOut };  // kComment
inline constexpr auto kTable = std::to_array<int>({1, 2});
constexpr Way& operator|=(Way& a, Way b) { return a; }
template <typename Call = Box<Box<int>>>
auto spread(Call&& call = Call()) { return call({}); }
class [[nodiscard]] Qp final : private Events {
 public:
  explicit Qp(int a = 0) : a_{a} {}
  Qp(const Qp&) = delete;
  static constexpr uint32_t kMost = Other::kMost;
  using Done = void (*)(Qp& self);
  struct Options {
    int depth = 0;
    bool valid() const { return depth > 0; }
  };
  [[nodiscard]] virtual Status post(const Request& chain = {}) = 0;
  explicit operator bool() const { return true; }

 private:
  void secret();
  int a_{};
};
inline void Qp::stop() {}
}  // namespace mrpool
"""
    PAGE = ("## `mrpool/a.h`\n| name | what |\n| --- | --- |\n| `MRPOOL_ONE`, `Way` | `kIn` |\n"
            "| `kTable` | a |\n| `spread` | b |\n| `Qp`, `Qp::kMost`, `Qp::Done` | c |\n"
            "| `Qp::Options`, `Qp::Options::valid`, `Qp::post` | `kOut` |\n")

    def findings(self, page):
        found = {"mrpool/a.h": public_api.Names(self.HEADER, False)}
        return list(public_api.problems(page, "", found))

    def test_all_names_of_a_header_and_no_other(self):
        self.assertEqual(self.findings(self.PAGE), [])

    def test_what_is_missing_or_gone_is_found(self):
        self.assertEqual(self.findings(self.PAGE.replace(", `Qp::post`", ", `Qp::secret`")),
                         ["does not name Qp::post of mrpool/a.h",
                          "names Qp::secret, which mrpool/a.h does not have"])
        self.assertEqual(self.findings(self.PAGE.replace("`kOut`", "d")),
                         ["does not name kOut, an enumerator of mrpool/a.h"])
        self.assertEqual(self.findings(self.PAGE + "## `mrpool/b.h`\n"),
                         ["has a heading for mrpool/b.h, which does not exist"])

    def test_c(self):
        text = ("struct mrpool_pd;\nenum mrpool_way { MRPOOL_IN = 0 };\n"
                "typedef void (*mrpool_sink)(void* context);\n"
                'extern "C" {\nMRPOOL_MUST_CHECK int mrpool_get(struct mrpool_pd** pd);\n'
                "struct mrpool_wc {\n  int status;\n};\nstruct mrpool_wc mrpool_last(void);\n}\n")
        names_of_c = public_api.Names(text, True)
        self.assertEqual(names_of_c.names, {"mrpool_pd", "mrpool_way", "mrpool_sink", "mrpool_get",
                                            "mrpool_wc", "mrpool_last"})
        self.assertEqual(names_of_c.enumerators, {"MRPOOL_IN"})


class Excerpts(unittest.TestCase):
    def test_quotes_that_are_not_in_their_file(self):
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            (root / "a.cc").write_text("int f() {\n  g();\n  h();\n}\n")

            def findings(name, code):
                return list(excerpts.problems(f"It calls. From `{name}`:\n\n```cpp\n{code}```\n",
                                              root))
            self.assertEqual(findings("a.cc", "  g();\n  h();\n"), [])
            self.assertEqual(findings("a.cc", "  g();\n  i();\n"),
                             [(1, "quotes a.cc, which does not have these lines")])
            self.assertEqual(findings("b.cc", "  g();\n"),
                             [(1, "quotes b.cc, which does not exist")])


class ShellBlocks(unittest.TestCase):
    def test_fences_indented_commands_and_prompts(self):
        page = ("```sh\na &\n```\n\n    tests/run\n\n    more\n\n- item\n\n  ```console\n  b\n  ```\n"
                "```\n$ c \\\n  d\noutput\n```\n```json\n{}\n```\n\n    mrpool-nvmf: a message\n\n"
                "```\noutput\n```\n")
        self.assertEqual(blocks_test.blocks(page), [(1, "a &\n"), (5, "tests/run\n\nmore\n"),
                                                    (11, "b\n"), (14, "c \\\n  d\n")])

    def test_why_a_block_is_left_out(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "skips.txt")
            path.write_text("# KIND\nroot docs/a.md two words  # needs root\n")
            self.assertEqual(blocks_test.read_skips(path),
                             {("docs/a.md", "two words"): ("root", "needs root")})
            path.write_text("lazy docs/a.md word  # later\n")
            with self.assertRaises(SystemExit):
                blocks_test.read_skips(path)


class TestNames(unittest.TestCase):
    def test_suites_tests_and_parts_of_names(self):
        suites, python = {"Pool": {"WaitsInOrder", "IsWhole"}}, {"test_a_copy_is_equal"}

        def findings(text):
            return list(test_names.missing(text, suites, python))
        self.assertEqual(findings("`Pool.WaitsInOrder`, `.IsWhole`, `Sizes/Pool.*`, `Pool.Waits...`,"
                                  " `test_a_copy`, `pool_test`, `Read10.Async`, `pool.cc`"), [])
        self.assertEqual(findings("`Pool.Waited`, `.Gone`, `Puddle.*`, `test_no_copy`"),
                         ["Pool.Waited", ".Gone", "Puddle.*", "test_no_copy"])


class Messages(unittest.TestCase):
    def test_strings_are_joined_and_what_no_program_prints_is_found(self):
        source = 'fail("the disk \\"a\\" is "\n     "full; remove something");\n'
        page = "| message | fix |\n| --- | --- |\n| `%s` | buy one |\n"
        self.assertEqual(messages.missing(page % 'the disk "a" is full; remove', [source]), [])
        self.assertEqual(messages.missing(page % "is empty", [source]), ["is empty"])


class Functions(unittest.TestCase):
    def findings(self, body_lines, allowed):
        with tempfile.TemporaryDirectory() as folder:
            source = pathlib.Path(folder, "long.cc")
            source.write_text("int f() {\n" + "  g();\n" * body_lines + "}\n")
            found = list(functions.lengths(["long.cc"], folder))
        return list(functions.too_long(found, allowed))

    def test_seventy_lines_are_the_most(self):
        self.assertEqual(self.findings(68, {}), [])
        self.assertIn("f has 71 lines", self.findings(69, {})[0])

    def test_the_list_of_exceptions_only_shrinks(self):
        self.assertEqual(self.findings(78, {("long.cc", "f"): 80}), [])
        self.assertIn("f has 81 lines; 80", self.findings(79, {("long.cc", "f"): 80})[0])
        self.assertIn("remove the line", self.findings(10, {("long.cc", "f"): 80})[0])


class Duplicates(unittest.TestCase):
    SIX = "".join(f"  step({i});\n" for i in range(6))

    def test_six_lines_are_found_whatever_stands_between_them(self):
        other = "int g() {\n" + self.SIX.replace("\n", "  // why\n\n") + "}\n"
        self.assertEqual(list(duplicates.blocks({"a": "int f() {\n" + self.SIX, "b": other})),
                         [("a", 2, "b", 2, 6)])

    def test_a_longer_block_is_one_finding(self):
        text = "".join(f"  step({i});\n" for i in range(20))
        self.assertEqual(list(duplicates.blocks({"a": text, "b": text})), [("a", 1, "b", 1, 20)])

    def test_within_one_file_too(self):
        self.assertEqual(list(duplicates.blocks({"a": self.SIX + "g();\n" + self.SIX})),
                         [("a", 1, "a", 8, 6)])

    def test_five_lines_and_includes_are_not(self):
        five = "".join(f"  step({i});\n" for i in range(5))
        includes = "".join(f'#include "{i}.h"\n' for i in range(9))
        self.assertEqual(list(duplicates.blocks({"a": includes + five, "b": includes + five})), [])

    def test_other_names_are_found_on_request(self):
        texts = {"a": self.SIX, "b": self.SIX.replace("step", "stage")}
        self.assertEqual(list(duplicates.blocks(texts)), [])
        self.assertEqual(len(list(duplicates.blocks(texts, duplicates.without_names))), 1)


class Options(unittest.TestCase):
    HELP = ("Usage: p [options]\n\nOptions:\n  --bs SIZE               bytes\n"
            "  --rw read|write         the load\n  --spin                  poll\n"
            "  --a-very-long-one TEXT|none\n                          a text\n\n"
            "General options:\n  -h, --help              print this\n")
    PAGE = ("| option | meaning |\n| --- | --- |\n| `--bs SIZE` | bytes, as `--size` |\n"
            "| `--rw read\\|write` | the load |\n| `--spin` | poll |\n"
            "| `--a-very-long-one TEXT\\|none` | a text |\n")

    def findings(self, page):
        found = []
        options.compare("page", "p", self.HELP, page, found.append)
        return found

    def test_a_page_lists_what_help_lists(self):
        self.assertEqual(self.findings(self.PAGE), [])

    def test_the_section_of_each_program(self):
        page = "# Options\n## Options of `p`\na\n## Other\nb\n## Options of `q-r`\nc\n"
        self.assertEqual(options.sections(page), {"p": "\na\n", "q-r": "\nc\n"})

    def test_what_is_left_out_or_gone_is_found(self):
        self.assertEqual(self.findings(self.PAGE.replace("--spin", "--spinn")),
                         ["page: does not list --spin of p",
                          "page: lists --spinn, which p --help does not"])
        self.assertEqual(len(self.findings(self.PAGE.replace("SIZE", "BYTES"))), 2)


class Source(unittest.TestCase):
    def test_comments_go_and_strings_stay(self):
        self.assertEqual(strip_comments('a("//x");  // y\n/* 1\n2 */b'), 'a("//x");  \n\nb')


if __name__ == "__main__":
    unittest.main()
