#include "trainer/embeddings.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <numeric>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "model/safetensors.h"
#include "model/scoring_network.h"
#include "trainer/durable_file.h"
#include "trainer/training.h"

namespace chorus {
namespace {

/// The first 128 bits of the SHA-256 of a clip's features.
using Fingerprint = std::array<std::int64_t, 2>;
using Known = std::map<Fingerprint, std::vector<float>>;

constexpr auto* kNetwork = "network";
constexpr auto* kClips = "clips";
constexpr auto* kEmbeddings = "embeddings";

Fingerprint fingerprint_of(std::span<const float> features) {
    const auto digits = sha256_hex(std::as_bytes(features));
    return {static_cast<std::int64_t>(std::stoull(digits.substr(0, 16), nullptr, 16)),
            static_cast<std::int64_t>(std::stoull(digits.substr(16, 16), nullptr, 16))};
}

/// Of all that decides an embedding but the clip.
std::string hash_of_network(const Bundle& bundle) {
    auto text = to_string(bundle.architecture);
    for (const auto& [name, tensor] : bundle.tensors)
        if (!name.starts_with("head.")) text += name + sha256_hex(tensor.bytes);
    return sha256_hex(std::as_bytes(std::span(text)));
}

/// Throws std::exception where the file's parts don't agree.
Known parse(std::span<const std::byte> bytes, const std::string& network, std::size_t size) {
    const auto file = parse_safetensors(bytes);
    if (file.metadata.at(kNetwork) != network) throw std::runtime_error("of another network");
    const auto& clips = file.tensors.at(kClips);
    const auto values = to_float32(file.tensors.at(kEmbeddings));
    const auto count = values.size() / size;
    if (clips.type != TensorType::kInt64 || clips.bytes.size() != count * sizeof(Fingerprint))
        throw std::runtime_error("clips and embeddings don't agree");
    Known known;
    for (std::size_t i = 0; i < count; ++i) {
        Fingerprint fingerprint{};
        std::memcpy(fingerprint.data(), clips.bytes.data() + i * sizeof fingerprint, sizeof fingerprint);
        const auto* of_clip = values.data() + i * size;
        known.emplace(fingerprint, std::vector(of_clip, of_clip + size));
    }
    return known;
}

Known read_cache(const std::filesystem::path& path, const std::string& network, std::size_t size) {
    std::ifstream stream(path, std::ios::binary);
    if (path.empty() || !stream) return {};
    const std::string text(std::istreambuf_iterator<char>(stream), {});
    try {
        return parse(std::as_bytes(std::span(text)), network, size);
    } catch (const std::exception&) {
        return {};
    }
}

void write_cache(const std::filesystem::path& path, const std::string& network, const Embeddings& embeddings,
                 std::span<const std::size_t> rows, std::span<const Fingerprint> fingerprints) {
    const auto count = static_cast<std::int64_t>(rows.size());
    StoredTensor clips{.type = TensorType::kInt64, .shape = {count, 2}, .bytes = {}};
    const auto bytes = std::as_bytes(fingerprints);
    clips.bytes.assign(bytes.begin(), bytes.end());
    std::vector<float> values;
    values.reserve(rows.size() * embeddings.size);
    for (const auto row : rows) {
        const auto embedding = embeddings.row(row);
        values.insert(values.end(), embedding.begin(), embedding.end());
    }
    SafetensorsFile file;
    file.metadata = {{kNetwork, network}};
    file.tensors.emplace(kClips, std::move(clips));
    file.tensors.emplace(kEmbeddings,
                         to_stored(values, {count, static_cast<std::int64_t>(embeddings.size)}, TensorType::kFloat32));
    replace_file(path, serialise_safetensors(file));
}

}  // namespace

Embeddings embed_clips(const Bundle& bundle, const FeatureStore& features, std::span<const std::size_t> rows,
                       int threads, const std::filesystem::path& cache, Progress& progress,
                       const std::function<bool()>& must_stop) {
    const ScoringNetwork network(bundle.architecture, static_cast<int>(bundle.labels.size()), bundle.tensors,
                                 bundle.front_end.mels, bundle.front_end.frames());
    const auto hash = hash_of_network(bundle);
    const auto known = read_cache(cache, hash, network.embedding_size());
    Embeddings embeddings{.size = network.embedding_size(), .values = {}};
    embeddings.values.resize(features.size() * embeddings.size);
    std::vector<Fingerprint> fingerprints(rows.size());
    std::atomic<std::size_t> next{0};
    std::atomic<std::size_t> computed{0};
    bool is_stopped = false;  // of this thread
    progress.begin("embeddings", rows.size(), "clips");
    {
        const auto work = [&](bool shows) {
            ScoringNetwork::Scratch scratch(network);
            std::vector<float> window(network.window_size());
            for (auto i = next++; i < rows.size(); i = next++) {
                features.get(rows[i], window);
                fingerprints[i] = fingerprint_of(window);
                if (const auto found = known.find(fingerprints[i]); found != known.end()) {
                    std::copy(found->second.begin(), found->second.end(), embeddings.row(rows[i]).begin());
                } else {
                    network.embed(window, embeddings.row(rows[i]), scratch);
                    ++computed;
                }
                if (!shows) continue;
                progress.update(i);
                if (must_stop && must_stop()) {
                    is_stopped = true;
                    next = rows.size();
                }
            }
        };
        std::vector<std::jthread> helpers;
        for (int i = 1; i < threads; ++i) helpers.emplace_back(work, false);
        work(true);
    }
    if (is_stopped) throw Interrupted("stopped while embeddings were computed");
    progress.update(rows.size());
    progress.finish(known.empty() ? "" : fmt::format("{} of them new", computed.load()));
    if (!cache.empty() && (computed > 0 || known.size() > rows.size()))
        write_cache(cache, hash, embeddings, rows, fingerprints);
    return embeddings;
}

std::vector<float> score_embeddings(const Bundle& bundle, const Embeddings& embeddings) {
    const auto weight = to_float32(bundle.tensors.at("head.weight"));  // [classes, size]
    const auto bias = to_float32(bundle.tensors.at("head.bias"));
    std::vector<float> scores;
    scores.reserve(embeddings.rows() * bias.size());
    for (std::size_t row = 0; row < embeddings.rows(); ++row) {
        const auto embedding = embeddings.row(row);
        for (std::size_t c = 0; c < bias.size(); ++c) {
            const auto* of_class = weight.data() + c * embedding.size();
            const float logit = std::inner_product(embedding.begin(), embedding.end(), of_class, bias[c]);
            scores.push_back(1.0F / (1.0F + std::exp(-logit)));
        }
    }
    return scores;
}

}  // namespace chorus
