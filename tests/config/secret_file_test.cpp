#include "config/secret_file.h"

#include <gmock/gmock.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <stdexcept>

#include "tests/temporary_folder.h"

namespace chorus {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

namespace fs = std::filesystem;

class SecretFile : public testing::Test {
  protected:
    SecretFile() { unsetenv("CREDENTIALS_DIRECTORY"); }
    ~SecretFile() override { unsetenv("CREDENTIALS_DIRECTORY"); }

    std::string make(const std::string& name, mode_t mode, const std::string& text = "hush-hush") const {
        return folder_.make(name, text, mode);
    }

    static std::string fault_of(const std::string& path, std::string (*read)(const std::string&) = read_secret_file) {
        try {
            read(path);
        } catch (const std::runtime_error& error) {
            return error.what();
        }
        return "";
    }

    TemporaryFolder folder_;
};

TEST_F(SecretFile, IsReadWhenItsOwnerAloneMayReadIt) {
    EXPECT_EQ(read_secret_file(make("a", 0600)), "hush-hush");
    EXPECT_EQ(read_secret_file(make("b", 0400)), "hush-hush");
}

TEST_F(SecretFile, IsRefusedWhenOthersMayReadIt) {
    for (const mode_t mode : {0640U, 0604U, 0644U, 0660U, 0601U, 0610U}) {
        const auto path = make("open", mode);
        EXPECT_THAT(fault_of(path), AllOf(HasSubstr(path), HasSubstr("chmod 600"), Not(HasSubstr("hush")))) << mode;
        EXPECT_EQ(read_listed_file(path), "hush-hush");
    }
}

TEST_F(SecretFile, IsRefusedWhenItBelongsToAnotherUser) {
    const auto path = make("foreign", 0600);
    if (geteuid() != 0) GTEST_SKIP() << "only root may give a file away";
    ASSERT_EQ(chown(path.c_str(), 65534, 65534), 0);
    EXPECT_THAT(fault_of(path), HasSubstr("must belong to this user or root"));
}

TEST_F(SecretFile, MayBeACredentialAsSystemdMakesThem) {
    make("curve.key", 0440);
    EXPECT_THAT(fault_of("credential:curve.key"), HasSubstr("LoadCredential=curve.key:FILE"));
    setenv("CREDENTIALS_DIRECTORY", folder_.path().c_str(), 1);
    EXPECT_EQ(read_secret_file("credential:curve.key"), "hush-hush");
    EXPECT_EQ(read_secret_file((folder_ / "curve.key").string()), "hush-hush");
    make("curve.key", 0444);
    EXPECT_THAT(fault_of("credential:curve.key"), HasSubstr("mode 0444"));
    for (const char* name : {"credential:", "credential:../x", "credential:/etc/shadow", "credential:.."}) {
        EXPECT_THAT(fault_of(name), HasSubstr("no credential's name")) << name;
    }
    EXPECT_THAT(fault_of("credential:other"), HasSubstr("No such file"));
}

TEST_F(SecretFile, IsOneLineWhenItIsAPassword) {
    EXPECT_EQ(read_password_file(make("a", 0600, " tad pole \r\n")), " tad pole ");
    EXPECT_EQ(read_password_file(make("b", 0600, "tadpole")), "tadpole");
    for (const auto& text : {std::string(), std::string("\n"), std::string("tad\npole"), std::string("tad\0pole", 8)}) {
        EXPECT_THAT(fault_of(make("c", 0600, text), read_password_file), HasSubstr("must be one line")) << text;
    }
    EXPECT_THAT(fault_of(make("d", 0640), read_password_file), HasSubstr("mode 0640"));
}

TEST_F(SecretFile, IsAnOrdinaryFileOfModestSize) {
    EXPECT_THAT(fault_of(folder_.path().string()), HasSubstr("is not a regular file"));
    EXPECT_THAT(fault_of("/dev/zero"), HasSubstr("is not a regular file"));
    const auto fifo = (folder_ / "fifo").string();
    ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
    EXPECT_THAT(fault_of(fifo), HasSubstr("is not a regular file"));
    EXPECT_THAT(fault_of(make("big", 0600, std::string(300'000, 'x'))), HasSubstr("more than 262144 bytes"));
    EXPECT_THAT(fault_of((folder_ / "none").string(), read_listed_file), HasSubstr("No such file"));
    EXPECT_THAT(fault_of(""), HasSubstr("is no file name"));
}

}  // namespace
}  // namespace chorus
