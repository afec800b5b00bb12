# hz3::hz3     the shared library; the program runs on hz3
# hz3::static  the archive
include(CMakeFindDependencyMacro)
find_dependency(Threads)

get_filename_component(_hz3_cmake "${CMAKE_CURRENT_LIST_DIR}" REALPATH)
get_filename_component(_hz3_lib "${_hz3_cmake}/../.." ABSOLUTE)
get_filename_component(_hz3_prefix "${_hz3_lib}" DIRECTORY)
if(NOT EXISTS "${_hz3_prefix}/include/hz3.h")
  # Debian: the libraries lie one directory deeper.
  get_filename_component(_hz3_prefix "${_hz3_prefix}" DIRECTORY)
endif()

if(NOT TARGET hz3::hz3)
  # A program may use nothing but malloc, which the C library has too: --no-as-needed keeps the
  # library wherever it stands on the command line.
  add_library(hz3::hz3 INTERFACE IMPORTED)
  set_target_properties(hz3::hz3 PROPERTIES
    INTERFACE_INCLUDE_DIRECTORIES "${_hz3_prefix}/include"
    INTERFACE_LINK_LIBRARIES
      "-Wl,--push-state,--no-as-needed;${_hz3_lib}/libhz3.so;-Wl,--pop-state")
endif()

if(NOT TARGET hz3::static)
  add_library(hz3::static STATIC IMPORTED)
  set_target_properties(hz3::static PROPERTIES
    INTERFACE_INCLUDE_DIRECTORIES "${_hz3_prefix}/include"
    IMPORTED_LOCATION "${_hz3_lib}/libhz3.a"
    # glibc before 2.34 has its threads in a library of their own.
    INTERFACE_LINK_LIBRARIES Threads::Threads)
endif()

unset(_hz3_cmake)
unset(_hz3_lib)
unset(_hz3_prefix)
