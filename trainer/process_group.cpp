#include "trainer/process_group.h"

#include <fmt/format.h>
#include <torch/torch.h>
#include <torch/version.h>

#include <cstdlib>
#include <cstring>
#include <exception>
#include <thread>

#include "model/torch_device.h"

#ifdef CHORUS_GLOO
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#endif
#ifdef CHORUS_NCCL
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>
#endif

namespace chorus {
namespace {

double seconds_of(std::chrono::milliseconds time) {
    return std::chrono::duration<double>(time).count();
}

/// The same values in memory without gaps, kept with the channels last where they are.
struct Dense {
    explicit Dense(const at::Tensor& tensor)
        : channels_last(tensor.dim() == 4 && tensor.suggest_memory_format() == at::MemoryFormat::ChannelsLast),
          values((channels_last ? tensor.permute({0, 2, 3, 1}) : tensor).contiguous()) {}

    at::Tensor restore(const at::Tensor& dense) const { return channels_last ? dense.permute({0, 3, 1, 2}) : dense; }

    bool channels_last;
    at::Tensor values;
};

}  // namespace

#ifdef CHORUS_GLOO

namespace {

#if TORCH_VERSION_MAJOR >= 2
using Backend = c10d::Backend;
#else
using Backend = c10d::ProcessGroup;  // what is now a back end was a group of its own
#endif

/// GLOO_SOCKET_IFNAME chooses a network interface, as in PyTorch; else it is the one that the host's name stands for.
std::shared_ptr<gloo::transport::Device> network_device(const std::string& address) {
    if (const auto* interface = std::getenv("GLOO_SOCKET_IFNAME"))
        return c10d::ProcessGroupGloo::createDeviceForInterface(interface);
    if (address == "localhost" || address == "::1" || address.starts_with("127."))
        return c10d::ProcessGroupGloo::createDeviceForHostname(address);
    return c10d::ProcessGroupGloo::createDefaultDevice();
}

}  // namespace

class ProcessGroup::Collectives {
  public:
    Collectives(const Rendezvous& place, std::chrono::milliseconds timeout) try : place_(place), timeout_(timeout) {
        c10d::TCPStoreOptions options;
        options.port = static_cast<std::uint16_t>(place.port);
        options.isServer = place.rank == 0;
        options.numWorkers = static_cast<std::size_t>(place.world_size);
        options.waitWorkers = false;  // the next line but two does
        options.timeout = timeout;
        store_ = c10::make_intrusive<c10d::TCPStore>(place.address, options);
        auto of_gloo = c10d::ProcessGroupGloo::Options::create(timeout);
        of_gloo->devices.push_back(network_device(place.address));
        gloo_ = c10::make_intrusive<c10d::ProcessGroupGloo>(c10::make_intrusive<c10d::PrefixStore>("gloo", store_),
                                                            place.rank, place.world_size, of_gloo);
    } catch (const std::exception& error) {
        throw std::runtime_error(fmt::format("rank {} of {} did not meet the others at {}:{} within {} s: {}",
                                             place.rank, place.world_size, place.address, place.port,
                                             seconds_of(timeout), first_line(error)));
    }

    ~Collectives() {
#if defined(CHORUS_NCCL) && TORCH_VERSION_MAJOR >= 2
        if (nccl_ && std::uncaught_exceptions() == 0) nccl_->shutdown();
#endif
    }

    /// call: what a back end is to do, which gives its work.
    template <typename Call>
    void run(const at::Tensor& tensor, std::string_view what, const Call& call) {
        guard(what, [&] { call(backend_for(tensor))->wait(); });
    }

    /// The same until it is done: of a GPU run() only begins it.
    template <typename Call>
    void finish(const at::Tensor& tensor, std::string_view what, const Call& call) {
        guard(what, [&] {
            auto work = call(backend_for(tensor));
            const auto last = std::chrono::steady_clock::now() + timeout_;
            while (tensor.is_cuda() && !work->isCompleted()) {
                if (std::chrono::steady_clock::now() > last) throw std::runtime_error("no sign of life");
                std::this_thread::sleep_for(std::chrono::microseconds(50));
            }
            if (const auto failure = work->exception()) std::rethrow_exception(failure);
            work->wait();
        });
    }

  private:
    template <typename Part>
    void guard(std::string_view what, const Part& part) {
        try {
            part();
        } catch (const std::exception& error) {
            throw ProcessLost(fmt::format(
                "rank {} of {} waited for {} and lost another process, or had no sign of it for {} s: {}; fit --resume "
                "by all goes on from the last checkpoint",
                place_.rank, place_.world_size, what, seconds_of(timeout_), first_line(error)));
        }
    }

    Backend& backend_for(const at::Tensor& tensor) {
        if (!tensor.is_cuda()) return *gloo_;
#ifdef CHORUS_NCCL
        if (!nccl_) {
            // Of a process that is lost NCCL's own thread then frees the GPU, and finish() tells of it; by default that
            // thread ends the program.
            for (const auto* name : {"TORCH_NCCL_ASYNC_ERROR_HANDLING", "NCCL_ASYNC_ERROR_HANDLING"})
                setenv(name, "2", 0);
            auto options = c10d::ProcessGroupNCCL::Options::create();
            options->timeout = timeout_;
            nccl_ = c10::make_intrusive<c10d::ProcessGroupNCCL>(c10::make_intrusive<c10d::PrefixStore>("nccl", store_),
                                                                place_.rank, place_.world_size, options);
        }
        return *nccl_;
#else
        throw std::runtime_error("this build has no NCCL for processes on GPUs");
#endif
    }

    Rendezvous place_;
    std::chrono::milliseconds timeout_;
    c10::intrusive_ptr<c10d::Store> store_;
    c10::intrusive_ptr<Backend> gloo_;
#ifdef CHORUS_NCCL
    c10::intrusive_ptr<Backend> nccl_;  // from the first tensor in a GPU's memory on
#endif
};

#else

class ProcessGroup::Collectives {
  public:
    Collectives(const Rendezvous&, std::chrono::milliseconds) {
        throw std::runtime_error("this build trains in one process: gloo's headers (libgloo-dev) were not there");
    }
    template <typename Call>
    void run(const at::Tensor&, std::string_view, const Call&) {}
    template <typename Call>
    void finish(const at::Tensor&, std::string_view, const Call&) {}
};

#endif

ProcessGroup::ProcessGroup() = default;

ProcessGroup::ProcessGroup(const Rendezvous& rendezvous, std::chrono::milliseconds timeout)
    : rendezvous_(rendezvous),
      collectives_(rendezvous.is_alone() ? nullptr : std::make_unique<Collectives>(rendezvous, timeout)) {}

ProcessGroup::~ProcessGroup() = default;

RowRange ProcessGroup::own_of(std::size_t rows) const {
    const auto size = rows / static_cast<std::size_t>(rendezvous_.world_size);
    return {.begin = static_cast<std::size_t>(rendezvous_.rank) * size, .size = size};
}

at::Tensor ProcessGroup::own_rows(const at::Tensor& all) const {
    if (is_alone()) return all;
    const auto own = own_of(static_cast<std::size_t>(all.size(0)));
    return all.narrow(0, static_cast<std::int64_t>(own.begin), static_cast<std::int64_t>(own.size));
}

at::Tensor ProcessGroup::gather(const at::Tensor& own, std::string_view what) const {
    if (is_alone()) return own;
    const Dense dense(own.detach());
    auto shape = dense.values.sizes().vec();
    shape.front() *= size();
    const auto all = torch::empty(shape, dense.values.options());
    std::vector<at::Tensor> inputs = {dense.values};
    std::vector<std::vector<at::Tensor>> outputs = {all.chunk(size())};
    collectives_->run(own, what, [&](auto& backend) { return backend.allgather(outputs, inputs); });
    return dense.restore(all);
}

at::Tensor ProcessGroup::add_up(const at::Tensor& own, std::string_view what) const {
    if (is_alone()) return own;
    const Dense dense(own.detach());
    std::vector<at::Tensor> tensors = {dense.values.clone()};
    collectives_->run(own, what, [&](auto& backend) { return backend.allreduce(tensors); });
    return dense.restore(tensors.front());
}

void ProcessGroup::average(std::span<const at::Tensor> tensors, std::string_view what) const {
    if (is_alone()) return;
    const torch::NoGradGuard no_grad;
    std::vector<at::Tensor> flat;
    for (const auto& tensor : tensors) flat.push_back(tensor.reshape(-1));
    std::vector<at::Tensor> all = {torch::cat(flat)};
    collectives_->finish(all.front(), what, [&](auto& backend) { return backend.allreduce(all); });
    all.front().div_(size());
    std::int64_t at = 0;
    for (auto tensor : tensors) {
        tensor.copy_(all.front().narrow(0, at, tensor.numel()).view(tensor.sizes()));
        at += tensor.numel();
    }
}

void ProcessGroup::share(std::optional<std::string>& text, std::string_view what) const {
    if (is_alone()) return;
    const auto broadcast = [&](at::Tensor tensor) {
        std::vector<at::Tensor> tensors = {std::move(tensor)};
        collectives_->run(tensors.front(), what, [&](auto& backend) { return backend.broadcast(tensors); });
    };
    auto length = torch::full({1}, text ? static_cast<std::int64_t>(text->size()) : -1, torch::kInt64);
    broadcast(length);
    const auto bytes = length.item<std::int64_t>();
    if (!leads()) text = bytes < 0 ? std::nullopt : std::optional(std::string(static_cast<std::size_t>(bytes), '\0'));
    if (bytes > 0) broadcast(torch::from_blob(text->data(), {bytes}, torch::kUInt8));
}

void ProcessGroup::wait_for_all(std::string_view what) const {
    add_up(torch::zeros({1}), what);
}

}  // namespace chorus
