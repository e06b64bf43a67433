#include "trainer/rendezvous.h"

#include <gmock/gmock.h>

#include <map>
#include <stdexcept>

namespace chorus {
namespace {

using testing::HasSubstr;
using Variables = std::map<std::string, std::string>;

Rendezvous find_in(const Variables& variables) {
    return find_rendezvous([&](const char* name) {
        const auto found = variables.find(name);
        return found == variables.end() ? nullptr : found->second.c_str();
    });
}

void expect(const Rendezvous& found, int rank, int world_size, int local_rank, const std::string& address, int port) {
    EXPECT_EQ(found.rank, rank);
    EXPECT_EQ(found.world_size, world_size);
    EXPECT_EQ(found.local_rank, local_rank);
    EXPECT_EQ(found.address, address);
    EXPECT_EQ(found.port, port);
}

TEST(Rendezvous, IsAloneWithoutAnyVariable) {
    EXPECT_TRUE(find_in({}).is_alone());
    EXPECT_TRUE(find_in({{"RANK", "0"}, {"WORLD_SIZE", "1"}}).is_alone());
    EXPECT_TRUE(find_in({{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "4"}}).is_alone()) << "any batch script of Slurm";
    EXPECT_TRUE(find_in({{"SLURM_PROCID", "0"}, {"SLURM_STEP_NUM_TASKS", "1"}}).is_alone());
    EXPECT_TRUE(find_in({{"SLURM_PROCID", "0"}, {"SLURM_JOB_NODELIST", "pond1"}}).is_alone());
}

TEST(Rendezvous, IsWhereTorchrunSays) {
    Variables variables = {
        {"RANK", "5"},           {"WORLD_SIZE", "8"},   {"LOCAL_RANK", "1"},          {"MASTER_ADDR", "pond1"},
        {"MASTER_PORT", "7000"}, {"SLURM_PROCID", "0"}, {"SLURM_STEP_NUM_TASKS", "2"}};
    expect(find_in(variables), 5, 8, 1, "pond1", 7000);
    variables["TORCHELASTIC_USE_AGENT_STORE"] = "True";
    expect(find_in(variables), 5, 8, 1, "pond1", 7001);
    expect(find_in({{"RANK", "1"}, {"WORLD_SIZE", "2"}, {"MASTER_ADDR", "127.0.0.1"}}), 1, 2, 0, "127.0.0.1", 29500);
}

TEST(Rendezvous, IsAtTheFirstHostOfSlurmsList) {
    Variables variables = {
        {"SLURM_PROCID", "3"}, {"SLURM_NTASKS", "9"}, {"SLURM_STEP_NUM_TASKS", "4"}, {"SLURM_LOCALID", "1"}};
    for (const auto& [list, first] : Variables{
             {"pond", "pond"}, {"pond,lake", "pond"}, {"pond[07-12,15]", "pond07"}, {"pond[3,5]-a,lake", "pond3-a"}}) {
        variables["SLURM_JOB_NODELIST"] = list;
        expect(find_in(variables), 3, 4, 1, first, 29500);
    }
    variables["SLURM_STEP_NODELIST"] = "lake2";
    variables["SLURM_STEP_NUM_TASKS"] = "5";
    expect(find_in(variables), 3, 5, 1, "lake2", 29500);
    variables["SLURM_JOB_ID"] = "40123";
    expect(find_in(variables), 3, 5, 1, "lake2", 10'123);
    variables["SLURM_STEP_ID"] = "2";
    expect(find_in(variables), 3, 5, 1, "lake2", 10'123 + 2 * 997);
    variables["SLURM_JOB_ID"] = "2147483647";
    variables["SLURM_STEP_ID"] = "2147483647";
    expect(find_in(variables), 3, 5, 1, "lake2", 29'706);
    variables["MASTER_ADDR"] = "river";
    variables["MASTER_PORT"] = "1234";
    expect(find_in(variables), 3, 5, 1, "river", 1234);
}

TEST(Rendezvous, NamesTheVariableThatMakesNoSense) {
    const Variables good = {{"RANK", "1"}, {"WORLD_SIZE", "2"}, {"MASTER_ADDR", "127.0.0.1"}};
    const auto expect_fault = [&](const std::string& name, const std::string& value, const std::string& line) {
        auto variables = good;
        variables[name] = value;
        EXPECT_THAT([&] { find_in(variables); }, testing::ThrowsMessage<std::invalid_argument>(HasSubstr(line)));
    };
    expect_fault("RANK", "2", "RANK: \"2\" is no whole number of 0 to 1");
    expect_fault("RANK", "-1", "RANK: \"-1\" is no");
    expect_fault("RANK", "", "RANK: is not set");
    expect_fault("WORLD_SIZE", "two", "WORLD_SIZE: \"two\" is no");
    expect_fault("WORLD_SIZE", "0", "WORLD_SIZE: \"0\" is no");
    expect_fault("WORLD_SIZE", "", "WORLD_SIZE: is not set");
    expect_fault("LOCAL_RANK", "7", "LOCAL_RANK: \"7\" is no");
    expect_fault("MASTER_ADDR", "", "MASTER_ADDR: is not set");
    expect_fault("MASTER_PORT", "99999", "MASTER_PORT: \"99999\" is no");
    EXPECT_THAT(
        [&] {
            find_in({{"SLURM_STEP_NUM_TASKS", "2"}, {"MASTER_ADDR", "pond"}});
        },
        testing::ThrowsMessage<std::invalid_argument>(HasSubstr("SLURM_PROCID: is not set")));
    EXPECT_THAT(
        [&] {
            find_in({{"SLURM_STEP_NUM_TASKS", "2"}, {"SLURM_PROCID", "0"}, {"SLURM_JOB_NODELIST", "broken["}});
        },
        testing::ThrowsMessage<std::invalid_argument>(HasSubstr("MASTER_ADDR: is not set")));
}

}  // namespace
}  // namespace chorus
