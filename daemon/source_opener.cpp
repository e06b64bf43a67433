#include "daemon/source_opener.h"

#include <stdexcept>

#include "daemon/alsa_cards.h"

namespace chorus {

std::unique_ptr<AudioSource> open_source(const SourceConfig& config) {
    // ALSA says of a missing card only that it couldn't be opened.
    if (!config.alsa_card.empty()) {
        try {
            require_alsa_card(config.alsa_card);
        } catch (const std::runtime_error& error) {
            throw std::runtime_error(config.name + ": " + error.what());
        }
    }
    return open_gstreamer_source({.name = config.name,
                                  .launch = config.launch,
                                  .realtime = config.realtime,
                                  .live = config.live,
                                  .rtsp_user = config.rtsp_user,
                                  .rtsp_password = config.rtsp_password});
}

}  // namespace chorus
