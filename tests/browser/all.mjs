// One shop and one browser for all tests of the pages.
import { after, before, describe } from 'node:test';
import { accessTests } from './access_tests.mjs';
import { payTests } from './pay_tests.mjs';
import { Rig } from './rig.mjs';
import { Shop } from './shop.mjs';
import { tableTests } from './table_tests.mjs';
import { assetTests, tillTests } from './till_tests.mjs';

describe('the pages', () => {
  const world = {};
  before(async () => {
    world.shop = await Shop.open();
    world.rig = await Rig.start(world.shop.url);
  });
  after(async () => {
    await world.rig?.stop();
    await world.shop?.stop();
  });
  describe('amounts and texts', () => tableTests(world));
  describe('the payment page', () => payTests(world));
  describe('the till', () => tillTests(world));
  describe('access', () => accessTests(world));
  describe('several assets', () => assetTests(world));
});
