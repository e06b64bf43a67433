#include "daemon/config.h"

#include <gmock/gmock.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "config/config_reader.h"
#include "tests/temporary_folder.h"

namespace chorus {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr const char* kSmallest =
    "[station]\nname = 'a'\n[model]\nbundle = 'm'\n[[source]]\nname = 's'\nlaunch = 'audiotestsrc'\n";

std::vector<std::string> faults_of(const std::string& text) {
    try {
        parse_config(text, "c.toml");
    } catch (const ConfigError& error) {
        std::vector<std::string> lines;
        for (const auto& fault : error.faults()) lines.push_back(to_string(fault));
        return lines;
    }
    return {};
}

TEST(Config, TheShippedExampleIsValidAndHoldsTheDefaults) {
    std::ifstream file(std::string(CHORUS_TEST_DATA) + "/../../config/chorusd.toml");
    std::stringstream text;
    text << file.rdbuf();
    const Config example = parse_config(text.str(), "chorusd.toml");
    const Config defaults = parse_config(kSmallest, "c.toml");
    EXPECT_EQ(example.station, "pond-7");
    EXPECT_EQ(example.hop_seconds, defaults.hop_seconds);
    EXPECT_EQ(example.max_batch, defaults.max_batch);
    EXPECT_EQ(example.max_batch_delay, defaults.max_batch_delay);
    EXPECT_EQ(example.queue_windows, defaults.queue_windows);
    EXPECT_EQ(example.silence_timeout, defaults.silence_timeout);
    EXPECT_EQ(example.detection.hysteresis, defaults.detection.hysteresis);
    EXPECT_EQ(example.detection.merge_gap_seconds, defaults.detection.merge_gap_seconds);
    EXPECT_EQ(example.detection.update_seconds, defaults.detection.update_seconds);
    EXPECT_EQ(example.publish_endpoint, defaults.publish_endpoint);
    EXPECT_EQ(example.status_interval, defaults.status_interval);
    EXPECT_EQ(example.http_listen, defaults.http_listen);
    EXPECT_EQ(example.device, defaults.device);
    EXPECT_EQ(example.precision, defaults.precision);
}

TEST(Config, KnowsThreePrecisionsEachForItsDevice) {
    const auto config = [](const std::string& keys) {
        return "[station]\nname = 'a'\n[model]\nbundle = 'm'\n" + keys + "[[source]]\nname = 's'\nalsa = 'hw:CARD=A'\n";
    };
    EXPECT_EQ(parse_config(config(""), "c.toml").precision, Precision::kFloat32);
    EXPECT_EQ(parse_config(config("precision = 'bfloat16'\n"), "c.toml").precision, Precision::kBfloat16);
    EXPECT_EQ(parse_config(config("device = 'cuda:0'\nprecision = 'float16'\n"), "c.toml").precision,
              Precision::kFloat16);
    EXPECT_THAT(faults_of(config("precision = 'half'\n")),
                ElementsAre("c.toml:5: model.precision: \"half\" must be float32, bfloat16 or float16"));
    EXPECT_THAT(faults_of(config("device = 'cpu'\nprecision = 'float16'\n")),
                ElementsAre("c.toml:6: model.precision: float16 is for a GPU, and device is \"cpu\""));
    EXPECT_THAT(faults_of(config("device = 'cuda:0'\nprecision = 'bfloat16'\n")),
                ElementsAre("c.toml:6: model.precision: bfloat16 is for a CPU, and device is \"cuda:0\""));
}

TEST(Config, SaysFiveFaultsAtOnce) {
    EXPECT_THAT(
        faults_of("[station]\nname = 'a b'\n[model]\ndevice = 'gpu'\n[analysis]\nhop_seconds = -1\nhopp = "
                  "2\n[[source]]\nname = 's'\n"),
        ElementsAre("c.toml:2: station.name: \"a b\" must be 1 to 64 letters, digits, '_' or '-'",
                    "c.toml:3: model.bundle: is missing", "c.toml:4: model.device: \"gpu\" must be auto, cpu or cuda:N",
                    HasSubstr("c.toml:6: analysis.hop_seconds: -1 must be"), "c.toml:7: analysis.hopp: unknown key",
                    HasSubstr("c.toml:8: source[0]")));
}

TEST(Config, WantsExactlyOneKindOfSource) {
    const std::string head = "[station]\nname = 'a'\n[model]\nbundle = 'm'\n";
    EXPECT_THAT(faults_of(head + "[[source]]\nname = 's'\nalsa = 'hw:0'\nfile = 'x.wav'\n"),
                ElementsAre(HasSubstr("is one too many")));
    EXPECT_THAT(faults_of(head + "[[source]]\nname = 's'\nalsa = 'hw:0'\nrealtime = true\n"),
                ElementsAre(HasSubstr("is for files only")));
    EXPECT_THAT(faults_of(head + "[[source]]\nname = 's'\nalsa = 'hw:0'\n[[source]]\nname = 's'\nalsa = 'hw:1'\n"),
                ElementsAre(HasSubstr("\"s\" is used twice")));
    EXPECT_THAT(faults_of(head + "[[source]]\nname = 's'\nrtp = {}\n"),
                ElementsAre(HasSubstr("source[0].rtp.port: is missing")));
    EXPECT_THAT(faults_of(head), ElementsAre(HasSubstr("at least one [[source]]")));
}

TEST(Config, RefusesALaunchFragmentThatGStreamerCannotMake) {
    const std::string head = "[station]\nname = 'a'\n[model]\nbundle = 'm'\n[[source]]\nname = 's'\n";
    EXPECT_THAT(faults_of(head + "launch = 'nosuchelement ! audioconvert'\n"),
                ElementsAre(HasSubstr("c.toml:7: source[0].launch: no element \"nosuchelement\"")));
    EXPECT_THAT(faults_of(head + "launch = 'audiotestsrc wavee=1'\n"),
                ElementsAre(HasSubstr("c.toml:7: source[0].launch: ")));
}

TEST(Config, ReadsAFilesStartFromItsNameOrItsKey) {
    const std::string head = "[station]\nname = 'a'\n[model]\nbundle = 'm'\n[[source]]\nname = 's'\n";
    const auto named = parse_config(head + "file = 'A_20260102_030405.wav'\n", "c.toml").sources[0];
    EXPECT_TRUE(named.is_file);
    EXPECT_TRUE(named.start.has_value());
    const auto dated = parse_config(head + "file = 'x.wav'\nstart = '2026-01-02T03:04:05Z'\n", "c.toml").sources[0];
    EXPECT_EQ(dated.start, named.start);
    EXPECT_FALSE(parse_config(head + "file = 'x.wav'\n", "c.toml").sources[0].start.has_value());
}

TEST(Config, WarnsWhereAFilesNameAndMetadataDisagree) {
    const auto path = std::filesystem::path(testing::TempDir()) / "A_20260102_030405.wav";
    std::ofstream(path, std::ios::binary)
        << std::string("RIFF\0\0\0\0WAVEguan\x1e\0\0\0Timestamp:2026-01-02T04:04:05Z", 50);
    const auto config = parse_config(
        "[station]\nname = 'a'\n[model]\nbundle = 'm'\n[[source]]\nname = 's'\nfile = '" + path.string() + "'\n",
        "c.toml");
    EXPECT_THAT(config.warnings, ElementsAre(HasSubstr("c.toml:7: source[0].file: the metadata says")));
    std::filesystem::remove(path);
}

TEST(Config, WarnsOfACardThatIsNamedByItsNumber) {
    const std::string head = "[station]\nname = 'a'\n[model]\nbundle = 'm'\n[[source]]\nname = 's'\n";
    const auto numbered = parse_config(head + "alsa = 'hw:1,0'\n", "c.toml");
    EXPECT_THAT(numbered.warnings, ElementsAre(HasSubstr("c.toml:7: source[0].alsa: card 1 may be another one")));
    EXPECT_EQ(numbered.sources[0].alsa_card, "");
    const auto named = parse_config(head + "alsa = 'hw:CARD=UMC404HD,DEV=0'\n", "c.toml");
    EXPECT_TRUE(named.warnings.empty());
    EXPECT_EQ(named.sources[0].alsa_card, "UMC404HD");
}

TEST(Config, ReadsASourcesHoursAndSilence) {
    const std::string head =
        "[station]\nname = 'a'\nlatitude = -15.5\nlongitude = -47.9\n[model]\nbundle = 'm'\n[[source]]\nname = 's'\n";
    const auto source = parse_config(head +
                                         "launch = 'audiotestsrc'\nschedule = ['04:30..09:00', "
                                         "'sunset..sunrise']\nsilence_timeout_seconds = 60\n",
                                     "c.toml")
                            .sources[0];
    EXPECT_FALSE(source.schedule.empty());
    EXPECT_EQ(source.silence_timeout, std::chrono::seconds(60));
    EXPECT_THAT(faults_of(head + "launch = 'audiotestsrc'\nschedule = ['4..9', 1]\n"),
                testing::UnorderedElementsAre(HasSubstr("c.toml:10: source[0].schedule: \"4\" must be"),
                                              HasSubstr("c.toml:10: source[0].schedule: entry 1 must be a text")));
    EXPECT_THAT(faults_of(head + "file = 'x.wav'\nschedule = ['04:30..09:00']\n"),
                ElementsAre(HasSubstr("schedule: is not for files")));
    EXPECT_THAT(faults_of("[station]\nname = 'a'\nlatitude = 95\n[model]\nbundle = 'm'\n[[source]]\nname = 's'\nlaunch "
                          "= 'audiotestsrc'\nschedule = ['sunset..sunrise']\n"),
                testing::UnorderedElementsAre(HasSubstr("station.latitude: 95 must be from -90 to 90"),
                                              HasSubstr("needs both latitude and longitude"),
                                              HasSubstr("schedule: \"sunset..sunrise\" needs [station] latitude")));
}

TEST(Config, LetsALaunchSayWhetherItIsLive) {
    const std::string head = "[station]\nname = 'a'\n[model]\nbundle = 'm'\n[[source]]\nname = 's'\n";
    const auto live = [&](const std::string& line) {
        return parse_config(head + "launch = 'audiotestsrc'\n" + line, "c.toml").sources[0].live;
    };
    EXPECT_EQ(live(""), std::nullopt);
    EXPECT_EQ(live("live = true\n"), true);
    EXPECT_EQ(live("live = false\n"), false);
    EXPECT_THAT(faults_of(head + "alsa = 'hw:CARD=A'\nlive = true\n"),
                ElementsAre(HasSubstr("live: is for launch only")));
}

TEST(Config, RefusesToPublishBeyondLoopback) {
    EXPECT_THAT(
        faults_of(std::string(kSmallest) +
                  "[publish]\nendpoint = 'tcp://0.0.0.0:7740'\n[http]\nlisten = '0.0.0.0:80'\n"),
        ElementsAre(HasSubstr("publish.endpoint: must be on loopback"), HasSubstr("http.listen: must be on loopback")));
}

/// Files that a configuration names, in a folder of their own.
class ConfigFiles : public testing::Test {
  protected:
    std::string make(const std::string& name, const std::string& text, mode_t mode = 0600) const {
        return folder_.make(name, text, mode);
    }
    std::string curve_section(const std::string& secret, const std::string& allowed) const {
        return "[curve]\nsecret_key_file = '" + secret + "'\nallowed_keys_file = '" + allowed + "'\n";
    }

    TemporaryFolder folder_;
    const std::string beyond_ = "[publish]\nendpoint = 'tcp://0.0.0.0:7740'\n";
};

TEST_F(ConfigFiles, PublishBeyondLoopbackWithKeys) {
    const auto server = make_curve_key_pair();
    const auto client = make_curve_key_pair();
    const auto secret = make("curve.key", server.secret_key);
    const auto allowed = make("allowed", client.public_key + " lab\n", 0644);
    for (const std::string endpoint :
         {"tcp://0.0.0.0:7740", "tcp://*:7740", "tcp://192.0.2.7:7740", "tcp://[::]:7740"}) {
        const auto config = parse_config(
            kSmallest + curve_section(secret, allowed) + "[publish]\nendpoint = '" + endpoint + "'\n", "c.toml");
        ASSERT_TRUE(config.curve);
        EXPECT_EQ(config.curve->keys.public_key, server.public_key);
        EXPECT_EQ(config.curve->allowed, (CurveAllowList{{client.public_key, "lab"}}));
    }
    EXPECT_THAT(faults_of(kSmallest + curve_section(secret, allowed) + "[publish]\nendpoint = 'tcp://eth0:7740'\n"),
                ElementsAre(HasSubstr("c.toml:12: publish.endpoint: must be tcp://ADDRESS:PORT")));
}

TEST_F(ConfigFiles, AreRefusedWithTheirPlace) {
    const auto secret = make_curve_key_pair().secret_key;
    const auto open = make("open.key", secret, 0644);
    const auto broken = make("allowed", "\nnonsense\n");
    EXPECT_THAT(faults_of(kSmallest + beyond_ + curve_section(open, broken)),
                ElementsAre("c.toml:11: curve.secret_key_file: " + open +
                                ": mode 0644 lets others at a secret: chmod 600 " + open,
                            HasSubstr("c.toml:12: curve.allowed_keys_file: " + broken + ": line 2: ")));
    EXPECT_THAT(faults_of(kSmallest + std::string("[curve]\nsecret_key_file = 'x'\n")),
                ElementsAre(HasSubstr("c.toml:8: curve.allowed_keys_file: is missing")));
    EXPECT_THAT(faults_of(kSmallest + std::string("[curve]\nallowed_keys_file = 'x'\n")),
                ElementsAre(HasSubstr("c.toml:8: curve.secret_key_file: is missing")));
}

TEST_F(ConfigFiles, ServeHttpBeyondLoopbackWithCertificateAndUsersOnly) {
    const auto users = make("users", "lab:$6$pond$" + std::string(86, 'a') + "\n");
    const auto certificate = (folder_ / "tls.pem").string();
    ASSERT_EQ(std::system(("openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=station -keyout " + certificate +
                           " -out " + certificate + ".crt 2>/dev/null && cat " + certificate + ".crt >> " + certificate)
                              .c_str()),
              0);
    const auto http = [](const std::string& rest) {
        return kSmallest + std::string("[http]\nlisten = '0.0.0.0:9740'\n") + rest;
    };
    const auto tls = "certificate_file = '" + certificate + "'\n";
    const auto names = "users_file = '" + users + "'\n";
    const auto config = parse_config(http(tls + names), "c.toml");
    EXPECT_EQ(config.http_security.users.size(), 1U);
    EXPECT_THAT(config.http_security.certificate_pem, HasSubstr("PRIVATE KEY"));
    for (const auto& half : {tls, names, std::string()}) {
        EXPECT_THAT(faults_of(http(half)), ElementsAre(HasSubstr("c.toml:9: http.listen: must be on loopback")))
            << half;
    }
    const auto no_key = make("cert.pem", "-----BEGIN CERTIFICATE-----\n");
    EXPECT_THAT(faults_of(http(names + "certificate_file = '" + no_key + "'\n")),
                ElementsAre(HasSubstr("c.toml:11: http.certificate_file: " + no_key + ": holds no certificate")));
    EXPECT_THAT(faults_of(http(names + "certificate_file = '" + certificate + ".crt'\n")),
                ElementsAre(HasSubstr("lets others at a secret")));
    chmod((certificate + ".crt").c_str(), 0600);
    EXPECT_THAT(faults_of(http(names + "certificate_file = '" + certificate + ".crt'\n")),
                ElementsAre(HasSubstr("holds no private key")));
}

TEST_F(ConfigFiles, KeepAStreamsPasswordOutOfItsLaunchFragment) {
    const auto password = make("password", "tad pole\n");
    const std::string head = "[station]\nname = 'a'\n[model]\nbundle = 'm'\n[[source]]\nname = 's'\n";
    const auto source =
        parse_config(head + "rtsp = 'rtsp://camera/a'\nrtsp_user = 'frog'\nrtsp_password_file = '" + password + "'\n",
                     "c.toml")
            .sources[0];
    EXPECT_EQ(source.rtsp_user, "frog");
    EXPECT_EQ(source.rtsp_password, "tad pole");
    EXPECT_THAT(source.launch, testing::AllOf(testing::Not(HasSubstr("frog")), testing::Not(HasSubstr("tad pole"))));

    EXPECT_THAT(faults_of(head + "rtsp = 'rtsp://camera/a'\nrtsp_user = 'frog'\n"),
                ElementsAre(HasSubstr("c.toml:8: source[0].rtsp_user: rtsp_user and rtsp_password_file go together")));
    EXPECT_THAT(
        faults_of(head + "rtsp = 'rtsp://camera/a'\nrtsp_user = 'frog'\nrtsp_password_file = 'credential:x'\n"),
        ElementsAre(HasSubstr("c.toml:9: source[0].rtsp_password_file: credential:x: there are no credentials")));
    EXPECT_THAT(
        faults_of(head + "alsa = 'hw:0'\nrtsp_user = 'frog'\nrtsp_password_file = '" + password + "'\n"),
        ElementsAre(HasSubstr("rtsp_user: is for rtsp only"), HasSubstr("rtsp_password_file: is for rtsp only")));
}

TEST(Config, OpensNoFilesWhenItsTextAloneIsAsked) {
    const auto config = parse_config(
        "[station]\nname = 'a'\n[model]\nbundle = 'm'\n[[source]]\nname = 's'\nlaunch = 'nosuchelement'\n"
        "[curve]\nsecret_key_file = '/none'\nallowed_keys_file = '/none'\n"
        "[http]\ncertificate_file = '/none'\nusers_file = '/none'\n",
        "c.toml", ConfigDepth::kTextAlone);
    EXPECT_TRUE(config.curve) << "keys are named, so endpoints beyond loopback are none of its faults";
}

TEST(Config, ShowsNoPasswordOfAUrlInItsFaults) {
    const std::string head = "[station]\nname = 'a'\n[model]\nbundle = 'm'\n[[source]]\nname = 's'\n";
    for (const std::string line :
         {"rtsp = 'http://frog:tadpole@camera/?token=spawn'", "rtsp = rtsp://frog:tadpole@camera/?token=spawn",
          "rtsp = 'rtsp://frog:tadpole@camera/?token=spawn",
          "launch = 'nosuchsrc location=rtsp://frog:tadpole@camera/?token=spawn'",
          "launch = 'rtspsrc location=rtsp://frog:tadpole@camera/?token=spawn nosuch=1'",
          "launch = 'rtspsrc location=rtsp://frog:tadpole@camera/?token=spawn ! ! x'",
          "file = 'http://frog:tadpole@camera/?token=spawn'\nfile = 1",
          "rtsp = 'rtsp://frog:tadpole@camera/?token=spawn'\nlatency_ms = -1"}) {
        const auto faults = faults_of(head + line + "\n");
        EXPECT_FALSE(faults.empty()) << line;
        for (const auto& fault : faults) {
            for (const char* secret : {"frog", "tadpole", "spawn"}) EXPECT_THAT(fault, testing::Not(HasSubstr(secret)));
        }
    }
}

TEST(Config, TakesOneLoopbackAddressAndNothingAfterIt) {
    for (const char* listen :
         {"127.0.0.1:1,0.0.0.0:2", "127.0.0.1:1,+2", "127.0.0.1:1s", "127.0.0.1:", "127.0.0.1:99999", "localhost:1"}) {
        EXPECT_EQ(faults_of(std::string(kSmallest) + "[http]\nlisten = '" + listen + "'\n").size(), 1U) << listen;
    }
    for (const char* endpoint :
         {"tcp://127.0.0.1:abc", "tcp://127.0.0.1:99999", "tcp://localhost:1", "tcp://127.0.0.1:1,tcp://0.0.0.0:2"}) {
        EXPECT_EQ(faults_of(std::string(kSmallest) + "[publish]\nendpoint = '" + endpoint + "'\n").size(), 1U)
            << endpoint;
    }
    EXPECT_TRUE(
        faults_of(std::string(kSmallest) + "[publish]\nendpoint = 'tcp://[::1]:*'\n[http]\nlisten = '[::1]:0'\n")
            .empty());
}

TEST(Config, SaysOnlyThatItIsNotToml) {
    EXPECT_EQ(faults_of("= nonsense").size(), 1U);
}

TEST(Config, NamesAModelThatCannotBeOpened) {
    const auto path = std::filesystem::temp_directory_path() / "chorus_config_test.toml";
    std::ofstream(path) << kSmallest << "[detection.thresholds]\nX = 2\n";
    try {
        load_station(path);
        FAIL() << "a missing model and a bad threshold must be refused";
    } catch (const ConfigError& error) {
        ASSERT_EQ(error.faults().size(), 2U) << error.what();
        EXPECT_EQ(error.faults()[0].key, "model.bundle");
        EXPECT_EQ(error.faults()[0].line, 4);
        EXPECT_EQ(error.faults()[1].key, "detection.thresholds.X");
    }
    std::filesystem::remove(path);
}

}  // namespace
}  // namespace chorus
