#pragma once
// Small files that a configuration names: keys, passwords, lists of who may do what.

#include <string>

namespace chorus {

/// The file's text. "credential:NAME" is $CREDENTIALS_DIRECTORY/NAME, where systemd puts a unit's credentials. Throws
/// std::runtime_error with one line that names the file and holds nothing of its text.
std::string read_listed_file(const std::string& path);

/// The same for a secret: its file must belong to root or to this user and be closed to group and others. In
/// $CREDENTIALS_DIRECTORY the group may read, as systemd makes it so.
std::string read_secret_file(const std::string& path);

/// The same for a file of one line, without the line's end: a password.
std::string read_password_file(const std::string& path);

}  // namespace chorus
