//! Who is believed and who is only counted: each rule of source learning.
