"""No run of eight bytes of a delivered key is in any log, metric or file of the run."""
import time

import searches
import world

ROUNDS = 15


def test():
    options = world.parse_arguments()
    keys = []
    with world.Demo(options).start() as demo:
        demo.wait_until_up()
        pairs = demo.pairs()
        for number in range(ROUNDS):
            for master, slave in pairs:
                front = world.Cli if number == 0 and master == "sae-1" else world.Rest
                status, body = front(demo, master).draw(slave, number=4)
                world.expect(status in (200, 503), f"draw: {status}")
                if status != 200:
                    continue
                drawn = world.keys_of(body)
                keys += drawn.values()
                # Some stay unfetched in the stores; bad requests make errors and logs.
                if number % 3 != 2:
                    front(demo, slave).fetch(master, list(drawn))
                    front(demo, slave).fetch(master, list(drawn)[:1])
            if number == ROUNDS // 2:
                demo.kill("n4")
                demo.restart("n4")
                world.wait_until_all_deliver(demo)
        searches.keep_what_operators_hear(demo)
        time.sleep(1)
        while_up = searches.search(options, [demo.run_dir], keys)
        demo.stop()
        after = searches.search(options, [demo.run_dir], keys)
    world.expect(while_up[0], while_up[1])
    world.expect(after[0], after[1])
    searches.check_the_search(options, keys[0])
    world.expect(len(keys) >= 500, f"only {len(keys)} keys were delivered")
    print(f"{len(keys)} keys: {after[1].strip()}")


world.main(test)
