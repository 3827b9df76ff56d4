// Files as the operating system has them: opening, mapping, writing.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <string>

#include "lib/file/mapped_file.h"
#include "lib/file/printable.h"
#include "lib/file/write_file.h"
#include "tests/file/test_files.h"

namespace bitanchor::test {
namespace {

namespace fs = std::filesystem;

std::string OpenRefusal(const std::string& path) {
  return Refusal([&] { MappedFile::Open(path); });
}

std::string WriteRefusal(const std::string& path, const std::string& text = "new") {
  return Refusal([&] { WriteFile(path, text); });
}

std::string Text(const MappedFile& file) {
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

TEST(Printable, KeepsOneLineAndItsLimit) {
  EXPECT_EQ(Printable("q_rope"), "q_rope");
  EXPECT_EQ(Printable(""), "\"\"");
  EXPECT_EQ(Printable(std::string("a\n\x1b[2J\0\x7f\xc3", 9)), "a\\x0a\\x1b[2J\\x00\\x7f\\xc3");
  EXPECT_EQ(Printable("0123456789", 10), "0123456789");
  EXPECT_EQ(Printable("01234567890", 10), "0123456...");
  EXPECT_EQ(Printable("\n\n\n", 10), "\\x0a\\x0...");
  EXPECT_EQ(Quoted(""), "\"\"");
  EXPECT_EQ(PrintablePath(""), "\"\"");
  EXPECT_EQ(PrintablePath("a/b"), "a/b");
  const std::string shown = PrintablePath(std::string(1000, 'x') + "/last");
  EXPECT_EQ(shown.size(), 160u);
  EXPECT_EQ(shown.substr(0, 4), "...x");
  EXPECT_EQ(shown.substr(shown.size() - 6), "x/last");
}

TEST(MappedFile, ShowsTheBytesAndMoves) {
  const TempDir dir;
  Spill(dir / "a", "some bytes");
  MappedFile file = MappedFile::Open(dir / "a");
  const std::byte* const data = file.bytes().data();
  EXPECT_EQ(Text(file), "some bytes");
  MappedFile moved = std::move(file);
  EXPECT_EQ(moved.bytes().data(), data);
  EXPECT_TRUE(file.bytes().empty());  // NOLINT: moved-from on purpose
  Spill(dir / "b", "other");
  MappedFile other = MappedFile::Open(dir / "b");
  other = std::move(moved);
  EXPECT_EQ(Text(other), "some bytes");
}

TEST(MappedFile, SurvivesBeingReplacedByWriteFile) {
  const TempDir dir;
  Spill(dir / "a", "before");
  const MappedFile file = MappedFile::Open(dir / "a");
  WriteFile(dir / "a", "after and longer");
  EXPECT_EQ(Text(file), "before");
  EXPECT_EQ(Slurp(dir / "a"), "after and longer");
}

TEST(MappedFile, RefusesWhatIsNoFileWithBytes) {
  const TempDir dir;
  Spill(dir / "empty", "");
  ASSERT_EQ(::mkfifo((dir / "pipe").c_str(), 0600), 0);
  fs::create_symlink("nowhere", dir / "dangling");
  const std::string want = ", want a file that can be read";
  EXPECT_EQ(OpenRefusal(dir / "none"), dir / "none" + ": got \"No such file or directory\"" + want);
  EXPECT_EQ(OpenRefusal(dir / "dangling"),
            dir / "dangling" + ": got \"No such file or directory\"" + want);
  EXPECT_EQ(OpenRefusal(dir / "."), dir / "." + ": got a directory" + want);
  EXPECT_EQ(OpenRefusal(dir / "empty"), dir / "empty" + ": got an empty file" + want);
  EXPECT_EQ(OpenRefusal(dir / "empty/x"), dir / "empty/x" + ": got \"Not a directory\"" + want);
  EXPECT_EQ(OpenRefusal(dir / "pipe"),
            dir / "pipe" + ": got something that is not a regular file" + want);
  EXPECT_NE(OpenRefusal("/dev/null"), "");
  EXPECT_NE(OpenRefusal(""), "");
  EXPECT_NE(OpenRefusal(std::string(100'000, 'a')), "");
  EXPECT_NE(OpenRefusal(dir / "line\nbreak\x1b"), "");
}

TEST(MappedFile, RefusesAnUnreadableFile) {
  if (::geteuid() == 0) GTEST_SKIP() << "root may read everything";
  const TempDir dir;
  Spill(dir / "a", "x");
  ASSERT_EQ(::chmod((dir / "a").c_str(), 0), 0);
  EXPECT_NE(OpenRefusal(dir / "a").find("Permission denied"), std::string::npos);
}

TEST(WriteFile, WritesThePiecesAndNothingElse) {
  const TempDir dir;
  const std::string one = "one", two = "two";
  WriteFile(dir / "a", {AsBytes(one), Bytes(), AsBytes(two)});
  EXPECT_EQ(Slurp(dir / "a"), "onetwo");
  WriteFile(dir / "a", "again");
  EXPECT_EQ(Slurp(dir / "a"), "again");
  EXPECT_EQ(dir.Names(), std::vector<std::string>{"a"});
}

TEST(WriteFile, LeavesTheModeToTheUmask) {
  const TempDir dir;
  const mode_t umask_before = ::umask(027);
  WriteFile(dir / "a", "x");
  ::umask(umask_before);
  struct stat status;
  ASSERT_EQ(::stat((dir / "a").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0640u);
}

TEST(WriteFile, FollowsALinkAndKeepsIt) {
  const TempDir dir;
  Spill(dir / "target", "old");
  fs::create_symlink("target", dir / "link");
  WriteFile(dir / "link", "new");
  EXPECT_TRUE(fs::is_symlink(dir / "link"));
  EXPECT_EQ(Slurp(dir / "target"), "new");
}

TEST(WriteFile, WritesToAPipe) {
  const TempDir dir;
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  WriteFile("/dev/fd/" + std::to_string(ends[1]), "through");
  char text[16] = {};
  EXPECT_EQ(::read(ends[0], text, sizeof text), 7);
  EXPECT_STREQ(text, "through");
  ::close(ends[0]);
  ::close(ends[1]);
}

TEST(WriteFile, RefusesAndLeavesNothingBehind) {
  const TempDir dir;
  fs::create_directory(dir / "folder");
  Spill(dir / "file", "old");
  fs::create_symlink("nowhere", dir / "dangling");
  const std::vector<std::string> names = dir.Names();
  const std::string want = ", want a file that can be written";
  EXPECT_EQ(WriteRefusal(dir / "none/a"),
            dir / "none/a" + ": got \"No such file or directory\"" + want);
  EXPECT_EQ(WriteRefusal(dir / "folder"), dir / "folder" + ": got a directory" + want);
  EXPECT_EQ(WriteRefusal(dir / "file/a"), dir / "file/a" + ": got \"Not a directory\"" + want);
  EXPECT_NE(WriteRefusal(dir / "dangling"), "");
  EXPECT_NE(WriteRefusal(""), "");
  EXPECT_NE(WriteRefusal(dir / std::string(300, 'a')), "");  // longer than a name may be
  EXPECT_EQ(dir.Names(), names);
  EXPECT_EQ(Slurp(dir / "file"), "old");
}

TEST(WriteFile, RemovesWhatItCouldNotFinish) {
  const TempDir dir;
  Spill(dir / "a", "old");
  struct rlimit before;
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler_before = std::signal(SIGXFSZ, SIG_IGN);
  const struct rlimit few = {1000, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &few), 0);
  const std::string refusal = WriteRefusal(dir / "a", std::string(5000, 'x'));
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  std::signal(SIGXFSZ, handler_before);
  EXPECT_EQ(refusal, dir / "a" + ": got \"File too large\", want a file that can be written");
  EXPECT_EQ(dir.Names(), std::vector<std::string>{"a"});
  EXPECT_EQ(Slurp(dir / "a"), "old");
}

TEST(WriteFile, RefusesAFullDeviceAndLeavesItADevice) {
  if (!fs::is_character_file("/dev/full")) GTEST_SKIP() << "no /dev/full here";
  EXPECT_EQ(WriteRefusal("/dev/full"),
            "/dev/full: got \"No space left on device\", want a file that can be written");
  EXPECT_TRUE(fs::is_character_file("/dev/full"));
  const TempDir dir;
  fs::create_symlink("/dev/full", dir / "full");
  EXPECT_NE(WriteRefusal(dir / "full"), "");
  EXPECT_TRUE(fs::is_symlink(dir / "full"));
}

TEST(AppendToFile, AddsAndKeeps) {
  const TempDir dir;
  AppendToFile(dir / "a", "one");
  AppendToFile(dir / "a", "two");
  EXPECT_EQ(Slurp(dir / "a"), "onetwo");
  EXPECT_EQ(dir.Names(), std::vector<std::string>{"a"});
  const auto refusal = [](const std::string& path) {
    return Refusal([&] { AppendToFile(path, "x"); });
  };
  EXPECT_NE(refusal(dir / "none/a"), "");
  EXPECT_NE(refusal(dir / "."), "");
  EXPECT_NE(refusal(""), "");
  if (fs::is_character_file("/dev/full")) {
    EXPECT_NE(refusal("/dev/full"), "");
  }
}

TEST(RefuseUnwritable, RefusesWhatWriteFileRefusesAndTouchesNothing) {
  const TempDir dir;
  fs::create_directory(dir / "folder");
  Spill(dir / "file", "old");
  fs::create_symlink("nowhere", dir / "dangling");
  fs::create_symlink("file", dir / "link");
  const std::vector<std::string> names = dir.Names();
  const auto refusal = [](const std::string& path) {
    return Refusal([&] { RefuseUnwritable(path); });
  };
  for (const std::string path : {"none/a", "folder", "file/a", "dangling", "new/"}) {
    EXPECT_EQ(refusal(dir / path), WriteRefusal(dir / path)) << path;
    EXPECT_NE(refusal(dir / path), "") << path;
  }
  EXPECT_NE(refusal(dir / std::string(300, 'a')), "");
  EXPECT_NE(refusal(""), "");
  for (const std::string path : {"file", "new", "folder/new", "link"}) {
    EXPECT_EQ(refusal(dir / path), "") << path;
  }
  EXPECT_EQ(refusal("/dev/null"), "");
  EXPECT_EQ(refusal("name-alone"), "");
  EXPECT_EQ(dir.Names(), names);
  EXPECT_EQ(Slurp(dir / "file"), "old");
}

}  // namespace
}  // namespace bitanchor::test
