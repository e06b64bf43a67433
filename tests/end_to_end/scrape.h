#pragma once
// What the tests read of a running daemon over HTTP.

#include <map>
#include <string>
#include <vector>

namespace chorus {

std::vector<std::string> lines_of(const std::string& text);

/// The whole reply, header and body; empty when nobody answers.
std::string http_get(int port, const std::string& path);

/// One scrape of /metrics.
class Scrape {
  public:
    using Labels = std::map<std::string, std::string>;

    Scrape() = default;
    explicit Scrape(const std::string& text);

    /// The sum over all series of that name that carry at least these labels; 0 when there is none.
    double sum(const std::string& name, const Labels& labels = {}) const;

    /// Channels for which samples_in = analysed + dropped + pending was looked at.
    std::size_t channels() const;
    /// What is wrong with the first channel whose books don't balance; empty when all do.
    std::string imbalance() const;

  private:
    struct Series {
        Labels labels;
        double value = 0;
    };
    std::multimap<std::string, Series> series_;
};

}  // namespace chorus
