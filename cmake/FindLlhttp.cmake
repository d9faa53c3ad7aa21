# Finds llhttp >= 9.2 (Llhttp::Llhttp). 8.1, which Debian 12 packages, has known request-smuggling
# holes and is refused; deploy/install-deps lays 9.2 below ${DIFYRING_DEPS_DIR} there.
set(DIFYRING_DEPS_DIR "${PROJECT_SOURCE_DIR}/build/deps" CACHE PATH "Where deploy/install-deps unpacks libraries that the system's Debian is too old for")
find_path(LLHTTP_INCLUDE_DIR llhttp.h HINTS ${DIFYRING_DEPS_DIR}/usr/include)
find_library(LLHTTP_LIBRARY NAMES libllhttp.a llhttp HINTS ${DIFYRING_DEPS_DIR}/usr/lib PATH_SUFFIXES ${CMAKE_LIBRARY_ARCHITECTURE} x86_64-linux-gnu aarch64-linux-gnu)
if(LLHTTP_INCLUDE_DIR)
  file(STRINGS ${LLHTTP_INCLUDE_DIR}/llhttp.h lines REGEX "#define LLHTTP_VERSION_(MAJOR|MINOR|PATCH) ")
  string(REGEX REPLACE "[^0-9;]" "" numbers "${lines}")
  string(REPLACE ";" "." Llhttp_VERSION "${numbers}")
endif()
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(Llhttp REQUIRED_VARS LLHTTP_LIBRARY LLHTTP_INCLUDE_DIR VERSION_VAR Llhttp_VERSION
  REASON_FAILURE_MESSAGE "run deploy/install-deps first")
if(Llhttp_FOUND AND NOT TARGET Llhttp::Llhttp)
  add_library(Llhttp::Llhttp UNKNOWN IMPORTED)
  set_target_properties(Llhttp::Llhttp PROPERTIES IMPORTED_LOCATION ${LLHTTP_LIBRARY} INTERFACE_INCLUDE_DIRECTORIES ${LLHTTP_INCLUDE_DIR})
endif()
