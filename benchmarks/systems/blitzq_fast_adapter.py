"""BlitzQ in its fast mode: Redis lists, at most once. A worker that dies takes the jobs it holds with it."""

from blitzq_adapter import ABOUT, COMMON_SETTINGS, main

SETTINGS = f"fast mode (Redis lists, at most once: no leases, no acks); {COMMON_SETTINGS}"

if __name__ == "__main__":
    main(ABOUT | {"name": ABOUT["name"] + " fast", "crash_safe": False, "settings": SETTINGS}, mode="fast")
