"""What the checks of house.py allow.  An exception stands here, with its reason, or nowhere."""

FUNCTION_LINES = 100
FILE_LINES = 1000
COLUMNS = 100

# Tables and flat switches longer than FUNCTION_LINES, as "path:function".
LONG_FUNCTIONS = set()

# Who may include whom: the first entry that a file lies under counts.
LEAF = ("common/error.h", "common/id.h", "common/clock.h")
ARROWS = (
    ("common", ("common",)),
    ("coordinator/core", ("coordinator/core", *LEAF)),
    ("coordinator", ("coordinator", "common", "worker/checkpoint")),
    # the carrier is a process of its own: it speaks with its agent as a rank does
    ("collectives/carrier", ("collectives", "common", "worker/local.h")),
    ("collectives", ("collectives", "common")),
    ("worker/reknit.h", ()),
    ("worker/checkpoint", ("worker/checkpoint", "common")),
    ("worker", ("worker", "collectives", "common")),
    ("launch", ("launch", "k8s", "coordinator", "worker", "collectives", "common")),
    ("k8s", ("k8s", "common")),
    ("examples", ("worker/reknit.h", "examples")),
    ("tests", ("tests", "common", "coordinator", "collectives", "worker", "launch", "k8s",
               "examples")),
)

# What a folder may not see even through the headers of others.
NEVER_REACHED = {
    "launch": ("coordinator/core",),
    "k8s": ("coordinator", "collectives", "worker", "launch"),
    "common": ("coordinator", "collectives", "worker", "launch", "k8s"),
    "worker": ("coordinator", "launch"),
    "collectives/carrier": ("coordinator", "launch"),
    "collectives": ("coordinator", "worker", "launch"),
}

# kind of source: (where the rule holds, functions, files and folders that may call them)
SOURCES = {
    "kernel's clock": (
        "",
        r"clock_gettime|gettimeofday|time|ftime|timespec_get",
        ("common/clock.c",),
    ),
    "random source": (
        "",
        r"rand|rand_r|s?random|srand|[dl]rand48|getrandom|getentropy|arc4random\w*",
        ("common/secret.c", "worker/agent/draw.c", "launch/surroundings.c"),
    ),
    "environment": (
        "",
        r"getenv|secure_getenv|setenv|putenv|unsetenv|clearenv",
        ("common/log.c", "worker/session.c", "collectives/carrier/main.c", "launch/surroundings.c",
         "tests"),
    ),
    "world outside the core": (
        "coordinator/core",
        r"rk_clock_now|rk_clock_wall|rk_log|rk_error_log|rk_info|rk_warn|rk_debug|fopen|open|write",
        (),
    ),
}

WORDS = (
    (r"\b(TO" r"DO|FIX" r"ME|X" r"XX)\b", "unfinished work: finish it, or open an issue"),
    (r"(?<![\w.}])/(wo" r"rk|ro" r"ot|ho" r"me/\w+)/", "a path of one machine"),
)
# The defaults and examples of MPIJob name folders of users.
WORDS_EXEMPT = {"LICENSE", "k8s/manifest/README.md", "tests/kubernetes/real_line.py"}

# Folders that need no README.md: everything under them speaks for itself.
WITHOUT_README = (".ci", "tests/fuzz/corpus", "k8s/deploy/base", "k8s/deploy/crd",
                  "k8s/deploy/role", "k8s/deploy/overlays")
