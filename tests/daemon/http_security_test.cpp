// TLS and passwords of the HTTP server, as curl sees them.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <sys/wait.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <sstream>

#include "daemon/http_server.h"
#include "tests/temporary_folder.h"

namespace chorus {
namespace {

using namespace std::chrono_literals;
using testing::EndsWith;
using testing::HasSubstr;
using Answer = HttpUsers::Answer;

namespace fs = std::filesystem;

// Of the password "croak".
constexpr const char* kSha512 =
    "$6$rounds=1000$pond7$DruyXLOMJ7B5jLOBzYPmYruOVUY71Z6tJiixjVxM4G9cimGH4RJqTSzndYMsGoj1zaej.mTuR/9O.cb3NZNdJ0";
constexpr const char* kYescrypt = "$y$j75$k2XAnEHBqQ1Ct2aMXFKNa/$jspq/dZRz/jLCLwmaQiF2yg.PPpfgaYRtc7WJZ0EPV7";

struct Ran {
    int status = -1;
    std::string out;
};

Ran run(const std::string& command) {
    Ran ran;
    FILE* const pipe = popen((command + " 2>/dev/null").c_str(), "r");
    if (pipe == nullptr) return ran;
    char buffer[4096];
    for (std::size_t n = 0; (n = fread(buffer, 1, sizeof buffer, pipe)) > 0;) ran.out.append(buffer, n);
    const int status = pclose(pipe);
    if (WIFEXITED(status)) ran.status = WEXITSTATUS(status);
    return ran;
}

/// A certificate of 127.0.0.1 that signs itself, as the README makes one.
class Certificate {
  public:
    Certificate() {
        EXPECT_EQ(run(fmt::format("openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=station -addext "
                                  "subjectAltName=IP:127.0.0.1 -keyout {0}/key.pem -out {0}/certificate.pem",
                                  folder_.path().string()))
                      .status,
                  0);
    }

    std::string pem() const { return text("certificate.pem") + text("key.pem"); }
    std::string path() const { return (folder_ / "certificate.pem").string(); }

  private:
    std::string text(const char* name) const {
        std::stringstream all;
        all << std::ifstream(folder_ / name).rdbuf();
        return all.str();
    }
    TemporaryFolder folder_;
};

std::map<std::string, HttpServer::Page> one_page() {
    return {{"/healthz", [] { return HttpResponse{.body = "ok\n"}; }}};
}

// Body and status of a page, as curl fetches it.
Ran curl(const std::string& options, const std::string& url) {
    return run(fmt::format("curl --silent --max-time 10 --write-out '%{{http_code}}' {} {}", options, url));
}

TEST(HttpServer, SpeaksTlsToThoseWithAPassword) {
    const Certificate certificate;
    const HttpServer server("127.0.0.1:0", one_page(),
                            {.certificate_pem = certificate.pem(), .users = {{"prometheus", kSha512}}});
    const auto url = fmt::format("https://127.0.0.1:{}/healthz", server.port());
    const auto trust = "--cacert " + certificate.path();
    const auto admitted = curl(trust + " --user prometheus:croak", url);
    EXPECT_EQ(admitted.out, "ok\n200");
    EXPECT_EQ(curl(trust, url).out, "name and password, please\n401");
    EXPECT_THAT(curl(trust + " --user nobody:croak", url).out, EndsWith("401"));
    EXPECT_EQ(curl(trust + " --user prometheus:croak", url).out, "ok\n200") << "one who is known isn't locked out";

    EXPECT_NE(curl("--user prometheus:croak", url).status, 0) << "a certificate that nobody trusts";
    EXPECT_NE(curl(trust + " --tls-max 1.1", url).status, 0);
    const auto plain = curl("--user prometheus:croak", fmt::format("http://127.0.0.1:{}/healthz", server.port()));
    EXPECT_THAT(plain.out, testing::Not(HasSubstr("ok")));
    EXPECT_NE(plain.status, 0);
}

TEST(HttpServer, HidesFromStrangersWhichPagesItHas) {
    const HttpServer server("127.0.0.1:0", one_page(), {.certificate_pem = "", .users = {{"lab", kYescrypt}}});
    const auto root = fmt::format("http://127.0.0.1:{}", server.port());
    EXPECT_THAT(curl("", root + "/healthz").out, EndsWith("401"));
    EXPECT_THAT(curl("", root + "/none").out, EndsWith("401"));
    EXPECT_THAT(curl("--header 'Authorization: Basic !!!'", root + "/healthz").out, EndsWith("401"));
    EXPECT_THAT(curl("--header 'Authorization: Bearer bGFiOmNyb2Fr'", root + "/healthz").out, EndsWith("401"));
    EXPECT_EQ(curl("--user lab:croak", root + "/healthz").out, "ok\n200");
    EXPECT_THAT(curl("--user lab:croak", root + "/none").out, EndsWith("404"));
    EXPECT_THAT(curl("--user lab:croak --head", root + "/healthz").out, EndsWith("200"));
}

TEST(HttpServer, SaysThatItsCertificateIsUseless) {
    EXPECT_THROW(HttpServer("127.0.0.1:0", one_page(), {.certificate_pem = "no PEM", .users = {}}), std::runtime_error);
}

TEST(HttpUsers, KnowTheirPasswordsOfEachKind) {
    for (const char* hash : {kSha512, kYescrypt}) {
        HttpUsers users(PasswordHashes{{"lab", hash}});
        const auto now = std::chrono::steady_clock::now();
        EXPECT_EQ(users.check("lab", "croak", now), Answer::kAdmitted);
        EXPECT_EQ(users.check("lab", "", now), Answer::kRefused);
        EXPECT_EQ(users.check("", "croak", now + 1s), Answer::kRefused);
        EXPECT_EQ(users.check("lab", std::string(10'000, 'x'), now + 2s), Answer::kRefused);
        EXPECT_EQ(users.check("lab", std::string("croak\0x", 7), now + 3s), Answer::kRefused);
        EXPECT_EQ(users.check("lab", "croak", now + 4s), Answer::kAdmitted);
    }
}

TEST(HttpUsers, LetGuessersWaitAndThoseWhoAreKnownPass) {
    HttpUsers users(PasswordHashes{{"lab", kSha512}, {"prometheus", kSha512}});
    const auto now = std::chrono::steady_clock::now();
    EXPECT_EQ(users.check("prometheus", "croak", now), Answer::kAdmitted);
    EXPECT_EQ(users.check("lab", "guess 1", now), Answer::kRefused);
    EXPECT_EQ(users.check("lab", "guess 2", now + 100ms), Answer::kLater);
    EXPECT_EQ(users.check("lab", "croak", now + 200ms), Answer::kLater);
    EXPECT_EQ(users.check("prometheus", "croak", now + 300ms), Answer::kAdmitted);
    EXPECT_EQ(users.check("prometheus", "guess", now + 300ms), Answer::kLater);
    EXPECT_EQ(users.check("lab", "croak", now + 600ms), Answer::kAdmitted);
}

TEST(PasswordHashes, AreReadFromLinesOfUserAndHash) {
    const auto hashes =
        parse_password_hashes(fmt::format("# who may look\n\nlab:{}\r\nprometheus:{}", kSha512, kYescrypt));
    EXPECT_EQ(hashes.size(), 2U);
    EXPECT_EQ(hashes.find("lab")->second, kSha512);
    EXPECT_EQ(hashes.find("prometheus")->second, kYescrypt);
}

TEST(PasswordHashes, NameTheLineThatIsWrongWithoutQuotingIt) {
    const auto fault = [](const std::string& text) -> std::string {
        try {
            parse_password_hashes(text);
        } catch (const std::runtime_error& error) {
            return error.what();
        }
        return "";
    };
    const std::string hash = kSha512;
    EXPECT_EQ(fault(""), "names no user");
    EXPECT_THAT(fault("# x\nlab"), HasSubstr("line 2: must be user:hash"));
    EXPECT_THAT(fault(":" + hash), HasSubstr("line 1: must be user:hash"));
    EXPECT_THAT(fault("a b:" + hash), HasSubstr("line 1: must be user:hash"));
    EXPECT_THAT(fault("lab:" + hash + "\nlab:" + hash), HasSubstr("line 2: this user is there already"));
    for (const std::string weak : {"croak", "", "$1$pond$QO4TXZ2VZK1hlvpmVq1yY/", "$6$", "$y$j9T$aa$bb"}) {
        EXPECT_THAT(fault("lab:" + weak), HasSubstr("line 1: the hash must be of")) << weak;
    }
    EXPECT_THAT(fault("lab:" + hash.substr(0, hash.size() - 1)), HasSubstr("line 1: the hash"));
    EXPECT_THAT(fault("lab:" + hash + ":x"), HasSubstr("line 1: the hash"));
    EXPECT_THAT(fault("lab:croak"), testing::Not(HasSubstr("croak")));
}

}  // namespace
}  // namespace chorus
