/* cli_tools: the commands that need no configuration. */
#include <assert.h>
#include <jansson.h>
#include <llhttp.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <protobuf-c/protobuf-c.h>
#include <stdio.h>
#include <uv.h>
#include <yaml.h>

#include "cli/cli.h"

enum {
    KEY_SIZE = 32,      /* SPEC §2, cluster.keys: an AES-256 key's strength */
    KEY_TEXT_SIZE = 45, /* in base64 with NUL */
};

int cli_keygen(int argc, char **argv)
{
    static const char help[] =
        "usage: difyring keygen\n"
        "\n"
        "Prints a new key for `cluster.keys`: 32 random bytes in base64. Keep it secret.\n"
        "\n"
        "  -h, --help  this text\n";
    int code = cli_only_help(argc, argv, help);
    if (code >= 0) {
        return code;
    }
    unsigned char key[KEY_SIZE], text[KEY_TEXT_SIZE];
    if (RAND_bytes(key, sizeof(key)) != 1) {
        return cli_failed(argv[0], "OpenSSL has no randomness");
    }
    int size = EVP_EncodeBlock(text, key, sizeof(key));
    assert(size == KEY_TEXT_SIZE - 1);
    printf("%.*s\n", size, (const char *)text);
    OPENSSL_cleanse(key, sizeof(key));
    OPENSSL_cleanse(text, sizeof(text));
    return CLI_FINE;
}

int cli_version(int argc, char **argv)
{
    static const char help[] =
        "usage: difyring version\n"
        "\n"
        "Prints a line `NAME VERSION` for difyring and for each library that "
        "it runs with.\n"
        "\n"
        "  -h, --help  this text\n";
    int code = cli_only_help(argc, argv, help);
    if (code >= 0) {
        return code;
    }
    printf("difyring " DIFYRING_VERSION "\n");
    printf("libuv %s\n", uv_version_string());
    printf("llhttp %d.%d.%d\n", LLHTTP_VERSION_MAJOR, LLHTTP_VERSION_MINOR, LLHTTP_VERSION_PATCH);
    printf("OpenSSL %s\n", OpenSSL_version(OPENSSL_VERSION_STRING));
    printf("protobuf-c %s\n", protobuf_c_version());
    printf("libyaml %s\n", yaml_get_version_string());
    printf("jansson %s\n", jansson_version_str());
    return CLI_FINE;
}
